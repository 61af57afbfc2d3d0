import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Exit, Fiber, Metric, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import type { ImpossibleCost, RateLimited } from "../../../src/resilience/ratelimit/RateLimitErrors.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { Cost, RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import { algorithms, between, policies, policyOf } from "./Histories.ts"
import { decisionsOf, few, fresh, limiter, waiting } from "./Limiters.ts"

describe("metrics and events", () => {
  const Act = Schema.Struct({
    key: Schema.Literals(["a", "b"]),
    cost: between(1, 14),
    within: Schema.Literals([0, 0, 5, 50]),
    interruptedAfter: Schema.Literals([-1, -1, 0, 3, 30]),
    settledTo: between(0, 14),
    gap: Schema.Literals([0, 0, 2, 20])
  })

  it.effect.prop("law 45, law 46: every call ends once, nothing is left waiting, and the events rebuild the state", [
    policies(algorithms),
    Arbitrary.array(Arbitrary.schema(Act), { minLength: 1, maxLength: 15 })
  ], ([policy, acts]) =>
    Effect.gen(function*() {
      const { events, use } = yield* RateLimiter
      // Counts again, from nothing but the events
      const copy = new MemoryStore(100)
      yield* events.pipe(
        Stream.runForEach((event) =>
          Effect.clockWith((clock) =>
            Effect.sync(() => {
              const now = clock.currentTimeMillisUnsafe()
              if (event._tag === "Allowed") copy.take(event.demands, now)
              if (event._tag === "Settled") copy.settle(event.settlements, now)
            })
          )
        ),
        Effect.forkScoped({ startImmediately: true })
      )
      const fibers = yield* Effect.forEach(acts, ({ cost, gap, interruptedAfter, key, settledTo, within }) =>
        Effect.gen(function*() {
          const body = use(
            { policy, key, cost: Cost.make(cost) },
            { within },
            (permit) =>
              settledTo > cost ? Effect.void : permit.settle(settledTo === 0 ? 0 : Cost.make(settledTo))
          )
          const fiber = yield* Effect.forkChild(body, { startImmediately: true })
          if (interruptedAfter >= 0) {
            yield* Effect.forkChild(Effect.andThen(Effect.sleep(interruptedAfter), Fiber.interrupt(fiber)), {
              startImmediately: true
            })
          }
          yield* TestClock.adjust(gap)
          return fiber
        }))
      yield* TestClock.adjust(100)
      const exits = yield* Effect.forEach(fibers, Fiber.await)
      const is = (tag: string) => (exit: Exit.Exit<void, RateLimited | ImpossibleCost>) =>
        Exit.isFailure(exit) &&
        exit.cause.reasons.some((reason) =>
          reason._tag === "Fail" && reason.error._tag === tag
        )
      const counts = yield* decisionsOf(policy.name)
      assert.deepStrictEqual(
        new Map(counts),
        new Map([
          ["allowed", exits.filter(Exit.isSuccess).length],
          ["denied", exits.filter(is("RateLimited")).length],
          ["impossible", exits.filter(is("ImpossibleCost")).length],
          ["interrupted", exits.filter(Exit.hasInterrupts).length]
        ])
      )
      assert.strictEqual([...counts.values()].reduce((all, count) => all + count, 0), acts.length)
      assert.strictEqual((yield* Metric.value(waiting)).value, 0)
      const keys = ["a", "b"].map((key) => ({ policy, key }))
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      assert.deepStrictEqual(
        copy.inspect(keys, now),
        yield* RateLimiterStore.use((store) => store.inspect(keys))
      )
    }).pipe(
      Effect.scoped,
      Effect.provide(limiter(), { local: true }),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ), few)

  it.effect("a listener that falls behind loses events, which are counted, and no call waits for it", () =>
    fresh(
      Effect.gen(function*() {
        const policy = policyOf({ limit: 1_000 })
        const { events, tryAcquire } = yield* RateLimiter
        const seen = yield* Ref.make<ReadonlyArray<string>>([])
        yield* events.pipe(
          Stream.runForEach((event) =>
            Effect.gen(function*() {
              if (event._tag === "Allowed") yield* Ref.update(seen, (all) => [...all, event.demands[0]?.key ?? ""])
              yield* Effect.sleep("1 second")
            })
          ),
          Effect.forkScoped({ startImmediately: true })
        )
        yield* Effect.forEach(Array.from({ length: 100 }), (_, index) => tryAcquire({ policy, key: `${index}` }))
        yield* TestClock.adjust("10 minutes")
        const heard = yield* Ref.get(seen)
        const lost = (yield* Metric.snapshot).find(({ id }) => id === "rate_limiter_events_lost_total")
        assert.isAbove(heard.length, 0)
        assert.isAtMost(heard.length, 10)
        assert.strictEqual(lost?.type === "Counter" && lost.state.count, 100 - heard.length)
      }).pipe(Effect.scoped),
      { eventBuffer: 8 }
    ).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})
