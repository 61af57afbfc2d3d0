/** What the tests of the limiter share. */
import { Duration, Effect, Layer, Metric } from "effect"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import type { RateLimiterOptions } from "../../../src/resilience/RateLimiter.ts"
import { RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"

export const limiter = (options?: RateLimiterOptions) =>
  RateLimiter.layer(options).pipe(Layer.provideMerge(RateLimiterStoreMemory.layer()))

export const fresh = <A, E, R>(effect: Effect.Effect<A, E, R>, options?: RateLimiterOptions) =>
  Effect.provide(effect, limiter(options), { local: true })

export const few = { arbitrary: { runs: 100, size: 20 } }

/** The longest that the tests below may have to wait: every waiter is served within it. */
export const long = Duration.hours(1)

export const waiting = Metric.gauge("rate_limiter_waiting", { description: "Calls that wait for a limit" })

/** How the calls of a policy ended, by the metric. */
export const decisionsOf = (policy: string) =>
  Effect.map(Metric.snapshot, (series) =>
    new Map(
      series.flatMap((one) =>
        one.id === "rate_limiter_decisions_total" && one.type === "Counter" && one.attributes?.["policy"] === policy
          ? [[one.attributes["decision"] ?? "", Number(one.state.count)] as const]
          : []
      )
    ))

/** A store that takes 20 ms to answer. */
export const slowStore = Layer.effect(
  RateLimiterStore,
  Effect.map(
    RateLimiterStoreMemory.make(),
    (store) => RateLimiterStore.of({ ...store, take: (demands) => Effect.delay(store.take(demands), 20) })
  )
)

export const remaining = (policy: RateLimitPolicy) =>
  RateLimiterStore.use((store) => store.inspect([{ policy, key: "k" }])).pipe(
    Effect.map(([left]) => left?.remaining)
  )
