import { Effect, Layer } from "effect"
import { CircuitBreakers } from "../../resilience/CircuitBreakers.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import { RateLimiter } from "../../resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../resilience/RateLimiterStoreMemory.ts"
import type { Readiness } from "../../services/Readiness.ts"
import { Settings } from "../settings/Settings.ts"

const redis = Effect.promise(() => import("./Redis.ts"))

/** Chooses by whether the settings name a Redis server. */
const byRedis = <A, E1, R1, E2, R2>(
  shared: Effect.Effect<Layer.Layer<A, E1, R1>>,
  alone: Layer.Layer<A, E2, R2>
) =>
  Layer.unwrap(Effect.flatMap(
    Settings,
    ({ redisUrl }): Effect.Effect<Layer.Layer<A, E1 | E2, R1 | R2>> =>
      redisUrl === undefined ? Effect.succeed(alone) : shared
  ))

/** Circuits, those of all processes together where there is Redis, and the directory of all policies of this process. */
export const circuits = byRedis(Effect.map(redis, ({ circuits }) => circuits), CircuitBreakers.layerLocal).pipe(
  Layer.provideMerge(PolicyDirectory.layer)
)

/** The same, and limits. */
export const layer = RateLimiter.layer().pipe(
  Layer.provideMerge(byRedis(Effect.map(redis, ({ limits }) => limits), RateLimiterStoreMemory.layer())),
  Layer.provideMerge(circuits)
)

/** What the role stands on, and Redis where there is one. */
export const readiness = <E, R>(role: Layer.Layer<Readiness, E, R>) =>
  byRedis(Effect.map(redis, ({ readiness }) => Layer.provide(readiness, role)), role)
