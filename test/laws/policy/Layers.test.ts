import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Result, Schedule } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as AdaptiveLimit from "../../../src/resilience/AdaptiveLimit.ts"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import type { CircuitOptions } from "../../../src/resilience/circuit/CircuitSettings.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Hedge from "../../../src/resilience/Hedge.ts"
import type { InvalidSettings } from "../../../src/resilience/InvalidSettings.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { measured } from "../../../src/resilience/policy/Measured.ts"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import * as RetryBudget from "../../../src/resilience/RetryBudget.ts"
import * as RetryDelay from "../../../src/resilience/RetryDelay.ts"
import { Broken, now } from "./Stacks.ts"

const retryOf = (schedule?: Schedule.Schedule<unknown>) =>
  Effect.map(
    Retry.make<unknown>({ name: "retry", retryable: () => true, call: Retry.safe, maxAttempts: 4, schedule }),
    (policy) => Layers.retry(policy)
  )

const hedgeOf = (after: Hedge.HedgeDelay) =>
  Effect.map(Hedge.make<unknown>({ name: "hedge", after, call: Retry.safe }), (hedge) => Layers.hedge(hedge))

const circuitOf = (options: Omit<CircuitOptions, "name">) =>
  Effect.map(CircuitBreaker.make({ name: "runtime", ...options }), (breaker) => Layers.circuit(breaker))

const limitOf = (name: string) => ({
  policy: Result.getOrThrow(RateLimitPolicy.make({ name, limit: 100, window: "1 minute", burst: 20 })),
  key: "key"
})

const rates = { _tag: "Rates", minimumCalls: 10 } as const
const jitter = { base: "50 millis", cap: "2 seconds" } as const

type Made = Effect.Effect<Policy.Policy<unknown, never, RateLimiter>, InvalidSettings, Scope.Scope>

const layers: ReadonlyArray<readonly [text: string, layer: Made]> = [
  ["deadline 10s", Effect.succeed(Layers.deadline("10 seconds"))],
  ["timeout 1s 500ms", Effect.succeed(Layers.timeout(1_500))],
  ["retry ×4 (jitter 100ms..10s)", retryOf()],
  ["retry ×4 (jitter 50ms..2s)", retryOf(RetryDelay.decorrelatedJitter(jitter))],
  ["retry ×4 (full jitter 50ms..2s)", retryOf(RetryDelay.fullJitter(jitter))],
  ["retry ×4", retryOf(Schedule.spaced("1 second"))],
  ["hedge +1 (after 50ms)", hedgeOf({ _tag: "Fixed", delay: "50 millis" })],
  ["hedge +1 (after 99% of latencies)", hedgeOf({ _tag: "Percentile", percentile: 0.99 })],
  ["retry budget 12.5% (up to 110)", Effect.map(RetryBudget.make({ ratio: 0.125, floor: 10 }), Layers.retryBudget)],
  [
    "circuit \"runtime\" (5 failures, 30s)",
    circuitOf({ trip: { _tag: "ConsecutiveFailures", failures: 5 }, openFor: "30 seconds" })
  ],
  ["circuit \"runtime\" (1 failure, 5s)", circuitOf({ trip: { _tag: "ConsecutiveFailures", failures: 1 } })],
  [
    "circuit \"runtime\" (50% failed of 10 to 100 calls, 5s)",
    circuitOf({ trip: { ...rates, failureRate: 0.5, window: { _tag: "Calls", size: 100 } } })
  ],
  [
    "circuit \"runtime\" (50% failed or 80% at 2s or more of 10 calls or more in 1m, 5s)",
    circuitOf({
      trip: {
        ...rates,
        failureRate: 0.5,
        slowCalls: { after: "2 seconds", rate: 0.8 },
        window: { _tag: "Time", duration: "1 minute" }
      }
    })
  ],
  ["bulkhead \"runtime\" 32", Effect.map(Bulkhead.make({ name: "runtime", limit: 32 }), Layers.bulkhead)],
  [
    "bulkhead \"runtime\" 32 (+100)",
    Effect.map(Bulkhead.make({ name: "runtime", limit: 32, queue: 100 }), Layers.bulkhead)
  ],
  [
    "adaptive limit \"runtime\" 2..200 (+7)",
    Effect.map(
      AdaptiveLimit.make({ name: "runtime", algorithm: { _tag: "Gradient2" }, minimum: 2, maximum: 200, queue: 7 }),
      Layers.adaptiveLimit
    )
  ],
  [
    "rate limit of requests \"plan\" 100/minute; algorithm=token-bucket; burst=20",
    Effect.succeed(Layers.rateLimit({ limits: limitOf("plan"), counts: "requests" }))
  ],
  [
    "rate limit of attempts \"a\" 100/minute; algorithm=token-bucket; burst=20 and " +
    "\"b\" 100/minute; algorithm=token-bucket; burst=20, waiting up to 2s",
    Effect.succeed(
      Layers.rateLimit({ limits: [limitOf("a"), limitOf("b")], within: "2 seconds", counts: "attempts" })
    )
  ],
  ["measure \"runtime\"", measured("runtime")]
]

const limiter = RateLimiter.layer().pipe(Layer.provide(RateLimiterStoreMemory.layer()))

/** Made once there is a reason for them, which there is none for in these tests: a store that is away, a refusal. */
const madeOnDemand = ["rate_limiter_refusals_total", "rate_limiter_unshared_total"]
/** Of what lies around the layers. */
const ofOthers = [
  "rate_limiter_events_lost_total",
  "rate_limiter_keys",
  "rate_limiter_store_up",
  "rate_limiter_waiting"
]

describe("a layer", () => {
  it.effect.each(layers)(
    "prints itself: %s",
    ([text, layer]) => Effect.scoped(Effect.map(layer, (layer) => assert.strictEqual(layer.toString(), text)))
  )

  it.effect.each(layers)("names the metrics that it makes, and no others: %s", ([, make]) =>
    Effect.gen(function*() {
      const policy = yield* make
      const calls = Effect.forEach([Effect.void, new Broken(), Effect.void], (call) =>
        Effect.exit(Policy.apply(call, policy)))
      const fiber = yield* Effect.forkChild(calls, now)
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      const shown = new Set((yield* Metric.snapshot).map(({ id }) =>
        id
      ))
      const named = Policy.metrics(policy)
      assert.deepStrictEqual(named.filter((id) => !shown.has(id) && !madeOnDemand.includes(id)), [])
      assert.deepStrictEqual([...shown].filter((id) => !named.includes(id) && !ofOthers.includes(id)), [])
    }).pipe(
      Effect.scoped,
      Effect.provide(limiter, { local: true }),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))
})
