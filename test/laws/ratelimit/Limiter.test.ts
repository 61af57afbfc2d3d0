import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Duration, Effect, Exit, Fiber, Layer, Metric, Ref, Schema } from "effect"
import { TestClock } from "effect/testing"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { Cost, RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import { algorithms, between, policies, policyOf } from "./Histories.ts"
import { decisionsOf, few, fresh, long, remaining, slowStore, waiting } from "./Limiters.ts"

describe("limiter", () => {
  it.effect.prop("law 8: waiters are served in order, each as soon as it fits", [
    policies(algorithms),
    Arbitrary.array(Arbitrary.schema(between(1, 12)), { minLength: 1, maxLength: 12 })
  ], ([policy, costs]) =>
    fresh(Effect.gen(function*() {
      const { acquire } = yield* RateLimiter
      const served = yield* Ref.make<ReadonlyArray<readonly [number, number]>>([])
      const wanted = costs.map((cost) => Cost.make(Math.min(cost, policy.capacity)))
      const waiters = yield* Effect.forEach(wanted, (cost, index) =>
        acquire({ policy, key: "k", cost }, { within: long }).pipe(
          Effect.andThen(Effect.clockWith((clock) =>
            clock.currentTimeMillis
          )),
          Effect.flatMap((at) => Ref.update(served, (all) => [...all, [index, at] as const])),
          Effect.forkChild({ startImmediately: true })
        ))
      yield* TestClock.adjust(long)
      yield* Effect.forEach(waiters, Fiber.join)

      // One after another, each at the first millisecond at which it fits
      const model = new MemoryStore(10)
      let now = 0
      const expected = wanted.map((cost, index) => {
        for (;;) {
          const outcome = model.take([{ policy, key: "k", cost }], now)
          if (outcome._tag === "Taken") return [index, now] as const
          now += outcome.retryAfterMillis
        }
      })
      assert.deepStrictEqual(yield* Ref.get(served), expected)
    })), few)

  it.effect.prop("law 8: interrupted waiters give their places back, and take nothing", [
    policies(algorithms),
    Arbitrary.array(
      Arbitrary.schema(Schema.Struct({ cost: between(1, 12), interruptedAfter: Schema.UndefinedOr(between(0, 60)) })),
      { minLength: 1, maxLength: 10 }
    )
  ], ([policy, waits]) =>
    fresh(Effect.gen(function*() {
      const { acquire } = yield* RateLimiter
      const taken = yield* Ref.make(0)
      const full = Cost.make(policy.capacity)
      yield* acquire({ policy, key: "k", cost: full }, { within: 0 })
      const fibers = yield* Effect.forEach(waits, ({ cost, interruptedAfter }) =>
        Effect.gen(function*() {
          const wanted = Cost.make(Math.min(cost, policy.capacity))
          const waiter = yield* acquire({ policy, key: "k", cost: wanted }, { within: long }).pipe(
            Effect.andThen(Ref.update(taken, (all) => all + wanted)),
            Effect.forkChild({ startImmediately: true })
          )
          if (interruptedAfter !== undefined) {
            yield* Effect.sleep(interruptedAfter).pipe(
              Effect.andThen(Fiber.interrupt(waiter)),
              Effect.forkChild({ startImmediately: true })
            )
          }
          return waiter
        }))
      yield* TestClock.adjust(long)
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      exits.forEach((exit, index) => {
        if (waits[index]?.interruptedAfter === undefined) assert.isTrue(Exit.isSuccess(exit))
        else if (Exit.isFailure(exit)) assert.isTrue(Cause.hasInterruptsOnly(exit.cause))
      })
      const counts = yield* decisionsOf(policy.name)
      const succeeded = exits.filter(Exit.isSuccess).length
      assert.strictEqual(counts.get("allowed"), 1 + succeeded)
      assert.strictEqual(counts.get("interrupted"), exits.length - succeeded)
      assert.strictEqual((yield* Metric.value(waiting)).value, 0)
      // The line is empty and nothing is held: as much as ever can be taken
      assert.strictEqual(yield* remaining(policy), policy.capacity)
    })).pipe(Effect.provideService(Metric.MetricRegistry, new Map())), few)

  it.effect.prop("law 8: what a store granted after the interruption is given back", [
    policies(algorithms),
    between(0, 40)
  ], ([policy, after]) =>
    Effect.gen(function*() {
      const { use } = yield* RateLimiter
      const ran = yield* Ref.make(false)
      const fiber = yield* use(
        { policy, key: "k", cost: Cost.make(policy.capacity) },
        { within: 0 },
        () => Ref.set(ran, true)
      ).pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust(after)
      yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
      yield* TestClock.adjust(100)
      yield* Fiber.await(fiber)
      // The store answers after 20 ms
      assert.strictEqual(yield* Ref.get(ran), after >= 20)
      yield* TestClock.adjust(policy.forgetsAfterMillis)
      assert.strictEqual(yield* remaining(policy), policy.capacity)
      const counts = yield* decisionsOf(policy.name)
      assert.strictEqual(counts.get("interrupted"), after >= 20 ? 0 : 1)
    }).pipe(
      Effect.provide(RateLimiter.layer().pipe(Layer.provideMerge(slowStore)), { local: true }),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ), few)

  it.effect("law 8: what was granted to an interrupted call is there for the next one at once", () =>
    Effect.gen(function*() {
      const policy = policyOf({ limit: 5, window: "1 hour", algorithm: "sliding-window" })
      const { acquire } = yield* RateLimiter
      const all = { policy, key: "k", cost: Cost.make(5) }
      const first = yield* Effect.forkChild(acquire(all, { within: 0 }), { startImmediately: true })
      yield* TestClock.adjust(10)
      yield* Effect.forkChild(Fiber.interrupt(first), { startImmediately: true })
      yield* TestClock.adjust(50)
      const second = yield* Effect.forkChild(acquire(all, { within: 0 }), { startImmediately: true })
      yield* TestClock.adjust(50)
      assert.strictEqual((yield* Fiber.join(second))._tag, "Allowed")
    }).pipe(Effect.provide(RateLimiter.layer().pipe(Layer.provideMerge(slowStore)))))

  it.effect("waits end: at once when the wait is too long, when the line is full, when others do not give way", () =>
    fresh(
      Effect.gen(function*() {
        const policy = policyOf({ limit: 2, window: "1 minute", algorithm: "fixed-window" })
        const { acquire } = yield* RateLimiter
        const two = { policy, key: "k", cost: Cost.make(2) }
        yield* acquire(two, { within: 0 })
        const early = yield* Effect.flip(acquire(two, { within: "59 seconds" }))
        assert(early._tag === "RateLimited")
        assert.strictEqual(early.reason, "LimitReached")
        assert.strictEqual(Duration.toMillis(early.retryAfter), 60_000)
        assert.deepStrictEqual(early.quotas, [
          { policy: "test", quota: 2, windowMillis: 60_000, remaining: 0, resetMillis: 60_000 }
        ])

        const first = yield* Effect.forkChild(acquire(two, { within: "1 minute" }), { startImmediately: true })
        const second = yield* Effect.forkChild(Effect.flip(acquire(two, { within: "10 seconds" })), {
          startImmediately: true
        })
        const third = yield* Effect.flip(acquire(two, { within: "1 hour" }))
        assert(third._tag === "RateLimited")
        assert.strictEqual(third.reason, "QueueFull")
        yield* TestClock.adjust("10 seconds")
        const late = yield* Fiber.join(second)
        assert(late._tag === "RateLimited")
        assert.strictEqual(late.reason, "WaitedTooLong")
        yield* TestClock.adjust("50 seconds")
        assert.strictEqual((yield* Fiber.join(first))._tag, "Allowed")
      }),
      { maxWaitersInLine: 2 }
    ))

  it.effect("the lines together are bounded too, and a place that is left is there for the next", () =>
    fresh(
      Effect.gen(function*() {
        const policy = policyOf({ limit: 1, window: "1 minute" })
        const { acquire } = yield* RateLimiter
        const wait = (key: string) => acquire({ policy, key }, { within: "1 hour" })
        yield* Effect.forEach(["a", "b", "c"], wait)
        const [first] = yield* Effect.forEach(["a", "b"], (key) =>
          Effect.forkChild(wait(key), { startImmediately: true }))
        const refused = yield* Effect.flip(wait("c"))
        assert(refused._tag === "RateLimited" && refused.reason === "QueueFull")
        assert.isDefined(first)
        if (first !== undefined) {
          yield* Fiber.interrupt(first)
        }
        const third = yield* Effect.forkChild(wait("c"), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* Fiber.join(third))._tag, "Allowed")
      }),
      { maxWaiters: 2 }
    ))

  it.effect("law 6: an impossible cost fails at once and does not join the line", () =>
    fresh(Effect.gen(function*() {
      const policy = policyOf({ limit: 2, window: "1 minute" })
      const { acquire, tryAcquire } = yield* RateLimiter
      const three = { policy, key: "k", cost: Cost.make(3) }
      for (const attempt of [acquire(three, { within: "1 hour" }), tryAcquire(three)]) {
        const error = yield* Effect.flip(attempt)
        assert(error._tag === "ImpossibleCost")
        assert.strictEqual(error.capacity, 2)
      }
      // Limits of one policy and key add up
      const twice = [{ ...three, cost: Cost.make(2) }, { policy, key: "k" }]
      assert.strictEqual((yield* Effect.flip(tryAcquire(twice)))._tag, "ImpossibleCost")
      assert.strictEqual(yield* remaining(policy), 2)
    })))

  it.effect.prop(
    "law 10: acquiring n is all or nothing",
    [policies(algorithms), between(2, 12)],
    ([policy, cost]) =>
      fresh(Effect.gen(function*() {
        const { tryAcquire } = yield* RateLimiter
        const wanted = Cost.make(Math.min(cost, policy.capacity))
        for (;;) {
          const before = yield* remaining(policy)
          const decision = yield* tryAcquire({ policy, key: "k", cost: wanted })
          const after = yield* remaining(policy)
          assert.strictEqual(after, decision._tag === "Allowed" ? (before ?? 0) - wanted : before)
          if (decision._tag === "Denied") break
        }
      })),
    few
  )

  it.effect.prop("law 12: replicas on one store together admit what one may", [policies(algorithms), between(2, 5)], (
    [policy, replicas]
  ) =>
    Effect.gen(function*() {
      const store = yield* RateLimiterStore
      const allowed = yield* Effect.forEach(Array.from({ length: replicas }), () =>
        Effect.gen(function*() {
          const { tryAcquire } = yield* RateLimiter
          const decisions = yield* Effect.replicateEffect(
            Effect.andThen(Effect.yieldNow, tryAcquire({ policy, key: "k" })),
            policy.capacity + 1
          )
          return decisions.filter(({ _tag }) => _tag === "Allowed").length
        }).pipe(
          Effect.provide(RateLimiter.layer().pipe(Layer.provide(Layer.succeed(RateLimiterStore, store))), {
            local: true
          })
        ), { concurrency: "unbounded" })
      assert.strictEqual(allowed.reduce((all, one) => all + one, 0), policy.capacity)
    }).pipe(Effect.provide(RateLimiterStoreMemory.layer(), { local: true })), few)
})
