import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Data, Effect, Exit, Fiber, Metric, Random, Ref, Scheduler, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import type { BulkheadFull } from "../../../src/resilience/Bulkhead.ts"
import { isRejection } from "../../../src/resilience/Rejection.ts"
import { PausesAt } from "../PausesAt.ts"

class Broken extends Data.TaggedError("Broken") {}

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(effect).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

const now = { startImmediately: true } as const

const evenly = (count: number) => Schema.Literals(Array.from({ length: count }, (_, n) => n))

const Call = Schema.Struct({
  ending: Schema.Literals(["succeeds", "fails", "dies", "hangs"]),
  yields: evenly(4),
  after: evenly(30),
  /** The turns of the others before this call gives up; negative for a call that doesn't. */
  givesUpAfter: Schema.Literals([-2, -1, 0, 1, 2, 3, 5]),
  pause: evenly(12)
})
const Calls = Schema.Array(Call).check(Schema.isMinLength(10), Schema.isMaxLength(50))

const counts = (bulkhead: Bulkhead.Bulkhead) => [bulkhead.running, bulkhead.queued]

describe("a bulkhead", () => {
  it.effect("law 33: calls beyond the limit wait, calls beyond the queue are rejected at once", () =>
    scoped(Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ name: "b", limit: 2, queue: 3 })
      const call = Bulkhead.withPlace(Effect.never, bulkhead)
      for (let n = 0; n < 5; n++) yield* Effect.forkChild(call, now)
      assert.deepStrictEqual(counts(bulkhead), [2, 3])
      const error = yield* Effect.flip(call)
      assert.deepStrictEqual([error._tag, error.reason, isRejection(error)], ["BulkheadFull", "QueueFull", true])
      assert.deepStrictEqual(counts(bulkhead), [2, 3])
    })))

  it.effect("law 33: a call that waited its longest is rejected, and leaves no trace", () =>
    scoped(Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ name: "b", limit: 1, queue: 1, maxWait: "1 second" })
      const holder = yield* Effect.forkChild(Bulkhead.withPlace(Effect.never, bulkhead), now)
      const waiter = yield* Effect.forkChild(Effect.flip(Bulkhead.withPlace(Effect.void, bulkhead)), now)
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(waiter.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(waiter)).reason, "WaitedTooLong")
      assert.deepStrictEqual(counts(bulkhead), [1, 0])
      yield* Fiber.interrupt(holder)
      assert.deepStrictEqual(counts(bulkhead), [0, 0])
    })))

  it.effect.prop(
    "law 33, law 34: never more than the limit and the queue; every place comes back, exactly once",
    [Calls, Schema.Literals([1, 2, 3]), Schema.Literals([0, 1, 2, 4]), Schema.Int],
    ([calls, limit, queue, seed]) =>
      scoped(Effect.gen(function*() {
        const bulkhead = yield* Bulkhead.make({ name: "b", limit, queue, maxWait: "40 millis" })
        const running = yield* Ref.make(0)
        let most = 0
        const fibers: Array<Fiber.Fiber<void, unknown>> = []
        for (const { after, ending, givesUpAfter, pause, yields } of calls) {
          const work = Effect.acquireUseRelease(
            Effect.map(Ref.updateAndGet(running, (n) => n + 1), (n) => {
              most = Math.max(most, n)
            }),
            () =>
              Effect.gen(function*() {
                for (let n = 0; n < yields; n++) yield* Effect.yieldNow
                if (after > 0) yield* Effect.sleep(after)
                if (ending === "fails") return yield* new Broken()
                if (ending === "dies") return yield* Effect.die("defect")
                if (ending === "hangs") return yield* Effect.never
              }),
            () => Ref.update(running, (n) => n - 1)
          )
          const fiber = yield* Effect.forkChild(Bulkhead.withPlace(work, bulkhead))
          fibers.push(fiber)
          assert.isAtMost(bulkhead.running, limit)
          assert.isAtMost(bulkhead.queued, queue)
          if (givesUpAfter >= 0) {
            for (let n = 0; n < givesUpAfter; n++) yield* Effect.yieldNow
            yield* Effect.forkChild(Fiber.interrupt(fiber))
          }
          if (pause > 8) yield* TestClock.adjust(pause)
          const turns = yield* Random.nextIntBetween(0, 3)
          for (let n = 0; n < turns; n++) yield* Effect.yieldNow
        }
        yield* TestClock.adjust("1 second")
        assert.isAtMost(most, limit)
        assert.isAtMost(yield* Ref.get(running), limit)
        yield* Fiber.interruptAll(fibers)
        assert.strictEqual(yield* Ref.get(running), 0)
        assert.deepStrictEqual(counts(bulkhead), [0, 0])
        // All places are there again, and not one more.
        const again = yield* Effect.forEach(Array.from({ length: limit }), () =>
          Effect.forkChild(Bulkhead.withPlace(Effect.never, bulkhead), now))
        assert.strictEqual(bulkhead.running, limit)
        yield* Fiber.interruptAll(again)
      })).pipe(Random.withSeed(seed)),
    { arbitrary: { runs: 500 } }
  )

  it.effect("law 34, law 45: interrupted at any step, running or waiting, a call gives its place back", () =>
    scoped(Effect.gen(function*() {
      for (let step = 1; step <= 40; step++) {
        for (const hasToWait of [false, true]) {
          const bulkhead = yield* Bulkhead.make({ name: "b", limit: 1, queue: 1 })
          const holder = hasToWait
            ? yield* Effect.forkChild(Bulkhead.withPlace(Effect.never, bulkhead), now)
            : undefined
          const call = Bulkhead.withPlace(Effect.never, bulkhead).pipe(
            Effect.provideService(Scheduler.Scheduler, new PausesAt(step))
          )
          const fiber = yield* Effect.forkChild(call, now)
          // Let the waiter have its place, and interrupt it before it can go on.
          if (holder !== undefined) yield* Fiber.interrupt(holder)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(counts(bulkhead), [0, 0], `step ${step}`)
        }
      }
    })))

  it.effect.prop(
    "law 35: those that wait are served in the order they came, whoever gives up before them",
    [Schema.Array(Schema.Boolean).check(Schema.isMinLength(2), Schema.isMaxLength(20))],
    ([givesUp]) =>
      scoped(Effect.gen(function*() {
        const bulkhead = yield* Bulkhead.make({ name: "b", limit: 1, queue: givesUp.length })
        const served: Array<number> = []
        const holder = yield* Effect.forkChild(Bulkhead.withPlace(Effect.never, bulkhead), now)
        const waiting = yield* Effect.forEach(givesUp, (_, n) =>
          Effect.forkChild(Bulkhead.withPlace(Effect.sync(() => served.push(n)), bulkhead), now))
        for (const [n, fiber] of waiting.entries()) {
          if (givesUp[n] === true) {
            yield* Fiber.interrupt(fiber)
          }
        }
        assert.strictEqual(
          bulkhead.queued,
          givesUp.filter((gaveUp) =>
            !gaveUp
          ).length
        )
        yield* Fiber.interrupt(holder)
        yield* Effect.forEach(waiting, (fiber) => Fiber.await(fiber))
        assert.deepStrictEqual(served, [...givesUp.keys()].filter((n) => givesUp[n] === false))
        assert.deepStrictEqual(counts(bulkhead), [0, 0])
      })),
    { arbitrary: { runs: 300 } }
  )

  it.effect("a queue of many is served without nesting", () =>
    scoped(Effect.gen(function*() {
      const bulkhead = yield* Bulkhead.make({ name: "b", limit: 1, queue: 20_000 })
      const holder = yield* Effect.forkChild(Bulkhead.withPlace(Effect.never, bulkhead), now)
      const waiting = yield* Effect.forEach(
        Array.from({ length: 20_000 }),
        () => Effect.forkChild(Bulkhead.withPlace(Effect.void, bulkhead), now)
      )
      assert.strictEqual(bulkhead.queued, 20_000)
      yield* Fiber.interrupt(holder)
      const exits = yield* Effect.forEach(waiting, (fiber) => Fiber.await(fiber))
      assert.isTrue(exits.every(Exit.isSuccess))
    })))

  it.effect("settings that make no sense are refused, all at once", () =>
    scoped(Effect.gen(function*() {
      const error = yield* Effect.flip(
        Bulkhead.make({ name: "b", limit: 0, queue: Number.NaN, maxWait: -1 })
      )
      assert.lengthOf(error.problems, 3)
    })))

  it("law 39: the rejection joins the errors, in both forms, and nothing else changes", () => {
    const check = (bulkhead: Bulkhead.Bulkhead, call: Effect.Effect<string, Broken, Scope.Scope>) => {
      type Expected = Effect.Effect<string, Broken | BulkheadFull, Scope.Scope>
      expectTypeOf(Bulkhead.withPlace(call, bulkhead)).toEqualTypeOf<Expected>()
      expectTypeOf(call.pipe(Bulkhead.withPlace(bulkhead))).toEqualTypeOf<Expected>()
    }
    assert.isFunction(check)
  })
})
