/** One limit alone goes a shorter way where the store decides at once. It must come to the same. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Fiber, Metric, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { Cost, RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import { algorithms, between, policies } from "./Histories.ts"
import { few, limiter } from "./Limiters.ts"

const Call = Schema.Struct({
  key: Schema.Literals(["a", "b"]),
  cost: Schema.UndefinedOr(between(1, 14)),
  gap: Schema.Literals([0, 0, 1, 3, 20, 130])
})
type Calls = ReadonlyArray<typeof Call.Type>

/** What a fresh limiter answers to the calls, tells its listener and counts; `asList` takes the longer way. */
const played = (policy: RateLimitPolicy, calls: Calls, asList: boolean) =>
  Effect.gen(function*() {
    const { events, tryAcquire } = yield* RateLimiter
    const listener = yield* Effect.forkChild(Stream.runCollect(Stream.take(events, calls.length)), {
      startImmediately: true
    })
    const answers = yield* Effect.forEach(calls, ({ cost, gap, key }) => {
      const limit = { policy, key, cost: cost === undefined ? undefined : Cost.make(cost) }
      return Effect.andThen(TestClock.adjust(gap), Effect.result(tryAcquire(asList ? [limit] : limit)))
    })
    const heard = yield* Fiber.join(listener)
    const counted = (yield* Metric.snapshot)
      .filter(({ id }) => id.startsWith("rate_limiter_"))
      .map(({ attributes, id, state }) => ({ id, attributes, state }))
    return { answers, heard, counted }
  }).pipe(
    Effect.provide(limiter(), { local: true }),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

describe("one limit alone", () => {
  it.effect("is decided at once by the store in memory", () =>
    Effect.gen(function*() {
      assert.isFunction((yield* RateLimiterStore).take.atOnce)
    }).pipe(Effect.provide(limiter())))

  it.effect.prop("law 12, law 46: it is answered, told and counted as a list of one is", [
    policies(algorithms),
    Arbitrary.array(Arbitrary.schema(Call), { minLength: 1, maxLength: 30 })
  ], ([policy, calls]) =>
    Effect.gen(function*() {
      const start = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const alone = yield* played(policy, calls, false)
      yield* TestClock.setTime(start)
      const asList = yield* played(policy, calls, true)
      assert.deepStrictEqual(alone, asList)
    }), few)
})
