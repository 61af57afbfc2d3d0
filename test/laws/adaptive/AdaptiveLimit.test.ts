import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Data, Effect, Fiber, Random, Scheduler, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as AdaptiveLimit from "../../../src/resilience/AdaptiveLimit.ts"
import type { AdaptiveLimitReached } from "../../../src/resilience/AdaptiveLimit.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import { isRejection } from "../../../src/resilience/Rejection.ts"
import * as Timeout from "../../../src/resilience/Timeout.ts"
import { Alive, nothing } from "../Alive.ts"
import { apart, callsCounted, counted } from "../Counted.ts"
import { PausesAt } from "../PausesAt.ts"
import { Broken, Calls, drive } from "../Workload.ts"

class Overloaded extends Data.TaggedError("Overloaded") {}

const now = { startImmediately: true } as const

const limitOf = (more?: Partial<AdaptiveLimit.AdaptiveLimitOptions>) =>
  AdaptiveLimit.make({
    name: "test",
    algorithm: { _tag: "Gradient2" },
    maximum: 100,
    initial: 20,
    ...more
  })

/** As many calls as may run at once, again and again for so many seconds of virtual time. */
const load = Effect.fnUntraced(function*<E>(
  limit: AdaptiveLimit.AdaptiveLimit,
  seconds: number,
  call: Effect.Effect<void, E>
) {
  const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
  for (let elapsed = 0; elapsed < seconds * 1_000; elapsed += 250) {
    while (limit.running < limit.limit) {
      fibers.push(yield* Effect.forkChild(AdaptiveLimit.withPlace(call, limit), now))
    }
    yield* TestClock.adjust(250)
  }
  yield* Fiber.interruptAll(fibers)
})

describe("an adaptive limit", () => {
  it.effect("law 33: calls beyond the limit wait, calls beyond the queue are rejected at once", () =>
    apart(Effect.gen(function*() {
      const limit = yield* limitOf({ initial: 2, queue: 1, maxWait: "1 second" })
      const call = AdaptiveLimit.withPlace(Effect.never, limit)
      yield* Effect.forkChild(call, now)
      yield* Effect.forkChild(call, now)
      const waiter = yield* Effect.forkChild(Effect.flip(call), now)
      const error = yield* Effect.flip(call)
      assert.deepStrictEqual([error._tag, error.reason, error.limit], ["AdaptiveLimitReached", "QueueFull", 2])
      assert.isTrue(isRejection(error))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(waiter)).reason, "WaitedTooLong")
      assert.deepStrictEqual(limit.snapshot, { name: "test", limit: 2, minimum: 1, maximum: 100, running: 2 })
    })))

  it.effect("law 36: it falls while calls get slower, and rises when they are fast again", () =>
    apart(Effect.gen(function*() {
      const limit = yield* limitOf()
      yield* load(limit, 30, Effect.sleep(50))
      const before = limit.limit
      assert.isAbove(before, 30)
      yield* load(limit, 30, Effect.sleep(250))
      assert.isBelow(limit.limit, before / 2)
      const during = limit.limit
      yield* load(limit, 30, Effect.sleep(50))
      assert.isAbove(limit.limit, during + 10)
      assert.deepStrictEqual(yield* counted("adaptive_limit_limit"), { "": limit.limit })
    })))

  it.effect("law 36: it stays where it is while nothing calls", () =>
    apart(Effect.gen(function*() {
      const limit = yield* limitOf()
      yield* load(limit, 10, Effect.sleep(50))
      const before = limit.limit
      yield* TestClock.adjust("1 day")
      assert.strictEqual(limit.limit, before)
      // One call at a time uses less than half of it.
      for (let n = 0; n < 100; n++) {
        const call = yield* Effect.forkChild(AdaptiveLimit.withPlace(Effect.sleep(50), limit), now)
        yield* TestClock.adjust(200)
        yield* Fiber.join(call)
      }
      assert.strictEqual(limit.limit, before)
    })))

  it.effect.each(
    [
      ["inside", (limit, takes) => AdaptiveLimit.withPlace(Timeout.timeout(Effect.never, takes), limit)],
      ["outside", (limit, takes) => Timeout.timeout(AdaptiveLimit.withPlace(Effect.never, limit), takes)]
    ] satisfies ReadonlyArray<
      readonly [string, (limit: AdaptiveLimit.AdaptiveLimit, takes: number) => Effect.Effect<unknown, unknown>]
    >
  )(
    "law 36: it falls when nothing is answered any more, with a timeout %s",
    ([, call]) =>
      apart(Effect.gen(function*() {
        for (const takes of [200, 5_000]) {
          const limit = yield* limitOf()
          yield* load(limit, 30, Effect.sleep(50))
          const before = limit.limit
          for (let elapsed = 0; elapsed < 30 * Math.max(takes, 1_000); elapsed += takes) {
            const calls = yield* Effect.forEach(
              Array.from({ length: limit.limit }),
              () => Effect.forkChild(call(limit, takes), now)
            )
            yield* TestClock.adjust(takes)
            yield* Fiber.awaitAll(calls)
          }
          assert.isBelow(limit.limit, before / 2, `${takes} ms`)
        }
      }))
  )

  it.effect("law 36: it falls when the other side refuses, if it is told what a refusal is", () =>
    apart(Effect.gen(function*() {
      const isOverload = (error: unknown) => error instanceof Overloaded
      const [told, untold] = [yield* limitOf({ isOverload }), yield* limitOf()]
      for (const limit of [told, untold]) {
        yield* load(limit, 10, Effect.sleep(50))
        const before = limit.limit
        yield* load(limit, 10, Effect.andThen(Effect.sleep(1), new Overloaded()))
        if (limit === told) assert.isBelow(limit.limit, before / 2)
        else assert.strictEqual(limit.limit, before)
      }
    })))

  it.effect("a limit that rises lets those in that wait, in order; one that falls interrupts nobody", () =>
    apart(Effect.gen(function*() {
      const limit = yield* limitOf({ initial: 1, queue: 3, maxWait: "1 hour" })
      const served: Array<number> = []
      for (let n = 0; n < 4; n++) {
        const call = Effect.andThen(Effect.sync(() => served.push(n)), Effect.never)
        yield* Effect.forkChild(AdaptiveLimit.withPlace(call, limit), now)
      }
      assert.deepStrictEqual(served, [0])
      limit.resize(3)
      yield* Effect.yieldNow
      assert.deepStrictEqual([served, limit.running, limit.queued], [[0, 1, 2], 3, 1])
      limit.resize(1)
      yield* Effect.yieldNow
      assert.deepStrictEqual([limit.running, limit.queued], [3, 1])
    })))

  it.effect.prop(
    "law 34, law 46: every place comes back, and calls = succeeded + failed + rejected + interrupted, in the metrics too",
    [Calls, Schema.Literals([1, 2, 3]), Schema.Literals([0, 1, 4]), Schema.Int],
    ([calls, initial, queue, seed]) =>
      apart(Effect.gen(function*() {
        const limit = yield* limitOf({
          initial,
          maximum: 4,
          queue,
          maxWait: "40 millis",
          window: "10 millis",
          minimumSamples: 1
        })
        const { begun, exits, left, most } = yield* drive(calls, (work) => AdaptiveLimit.withPlace(work, limit))
        assert.isAtMost(most, 4)
        assert.deepStrictEqual([left, limit.running, limit.queued], [0, 0, 0])
        const seen = yield* callsCounted("adaptive_limit_calls")
        assert.strictEqual(seen.begun, seen.ended)
        // A fiber that was interrupted before its first step never called.
        assert.isAtMost(seen.begun, exits.length)
        assert.deepStrictEqual(yield* counted("adaptive_limit_rejected_total"), { "": seen.rejected })
        assert.isAtMost(begun, limit.admitted)
      })).pipe(Random.withSeed(seed)),
    { arbitrary: { runs: 500 } }
  )

  it.effect("law 45: interrupted at any step, running or waiting, a call leaves no place, fiber or timer behind", () =>
    apart(Effect.gen(function*() {
      for (let step = 1; step <= 60; step++) {
        for (const hasToWait of [false, true]) {
          const limit = yield* limitOf({ initial: 1, maximum: 1, queue: 1 })
          const holder = hasToWait
            ? yield* Effect.forkChild(AdaptiveLimit.withPlace(Effect.never, limit), now)
            : undefined
          const alive = new Alive()
          const call = alive.watch(AdaptiveLimit.withPlace(Effect.never, limit)).pipe(
            Effect.provideService(Scheduler.Scheduler, new PausesAt(step))
          )
          const fiber = yield* Effect.forkChild(call, now)
          if (holder !== undefined) yield* Fiber.interrupt(holder)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual([limit.running, limit.queued], [0, 0], `step ${step}`)
          assert.deepStrictEqual(alive.counts, nothing, `step ${step}`)
        }
      }
      const { begun, ended } = yield* callsCounted("adaptive_limit_calls")
      assert.strictEqual(begun, ended)
    })))

  it.effect("law 44: its rejections do not trip an outer breaker", () =>
    apart(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ name: "outer", trip: { _tag: "ConsecutiveFailures", failures: 1 } })
      const limit = yield* limitOf({ initial: 1, maximum: 1 })
      yield* Effect.forkChild(AdaptiveLimit.withPlace(Effect.never, limit), now)
      for (let n = 0; n < 5; n++) {
        yield* Effect.exit(Effect.void.pipe(AdaptiveLimit.withPlace(limit), CircuitBreaker.protect(breaker)))
      }
      assert.strictEqual((yield* breaker.snapshot).state, "Closed")
      assert.strictEqual(limit.rejected, 5)
    })))

  it.effect("settings that make no sense are refused, all at once", () =>
    apart(Effect.gen(function*() {
      const gradient = yield* Effect.flip(limitOf({
        algorithm: { _tag: "Gradient2", tolerance: 0.5, queueSize: 0, smoothing: Number.NaN, longWindows: 1.5 },
        maximum: 10,
        minimum: 11,
        initial: 12,
        window: 0,
        minimumSamples: 0,
        queue: -1,
        maxWait: Number.NaN
      }))
      assert.lengthOf(gradient.problems, 10)
      const aimd = yield* Effect.flip(limitOf({
        algorithm: { _tag: "Aimd", latencyAtMost: 0, backoff: 1 },
        maximum: Infinity
      }))
      assert.lengthOf(aimd.problems, 3)
    })))

  it("law 39: the rejection joins the errors, in both forms, and nothing else changes", () => {
    const check = (limit: AdaptiveLimit.AdaptiveLimit, call: Effect.Effect<string, Broken, Scope.Scope>) => {
      type Expected = Effect.Effect<string, Broken | AdaptiveLimitReached, Scope.Scope>
      expectTypeOf(AdaptiveLimit.withPlace(call, limit)).toEqualTypeOf<Expected>()
      expectTypeOf(call.pipe(AdaptiveLimit.withPlace(limit))).toEqualTypeOf<Expected>()
    }
    assert.isFunction(check)
  })
})
