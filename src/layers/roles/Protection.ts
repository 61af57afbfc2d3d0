import { Effect, Layer } from "effect"
import { CircuitBreakers } from "../../resilience/CircuitBreakers.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import { RateLimiter } from "../../resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../resilience/RateLimiterStoreMemory.ts"
import type { Readiness } from "../../services/Readiness.ts"
import * as CircuitStoreRedis from "../redis/CircuitStoreRedis.ts"
import * as RateLimiterStoreRedis from "../redis/RateLimiterStoreRedis.ts"
import * as ReadinessRedis from "../redis/ReadinessRedis.ts"
import * as Redis from "../redis/Redis.ts"
import { Settings } from "../settings/Settings.ts"

/** One connection for all that use it: a layer that is the same value is built once. */
const redis = Layer.unwrap(
  Effect.map(Settings, ({ redisUrl }) =>
    redisUrl === undefined
      ? Layer.effect(Redis.Redis, Effect.die(new Error("REDIS_URL is not set")))
      : Layer.orDie(Redis.layer({ url: redisUrl })))
)

/** Chooses by whether the settings name a Redis server. */
const byRedis = <A, E1, R1, E2, R2>(
  shared: Layer.Layer<A, E1, R1 | Redis.Redis>,
  alone: Layer.Layer<A, E2, R2>
) =>
  Layer.unwrap(
    Effect.map(
      Settings,
      ({ redisUrl }): Layer.Layer<A, E1 | E2, Exclude<R1, Redis.Redis> | R2 | Settings> =>
        redisUrl === undefined ? alone : Layer.provide(shared, redis)
    )
  )

const sharedCircuits = CircuitBreakers.layerShared().pipe(Layer.provide(CircuitStoreRedis.layer()))

/** Circuits, those of all processes together where there is Redis, and the directory of all policies of this process. */
export const circuits = byRedis(sharedCircuits, CircuitBreakers.layerLocal).pipe(
  Layer.provideMerge(PolicyDirectory.layer)
)

/** The same, and limits. */
export const layer = RateLimiter.layer().pipe(
  Layer.provideMerge(byRedis(RateLimiterStoreRedis.layer(), RateLimiterStoreMemory.layer())),
  Layer.provideMerge(circuits)
)

/** What the role stands on, and Redis where there is one. */
export const readiness = <E, R>(role: Layer.Layer<Readiness, E, R>) =>
  byRedis(Layer.provide(ReadinessRedis.layer, role), role)
