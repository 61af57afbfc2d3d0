/** What stands on Redis, read where the settings name a server: its client is a third of the code of a gateway. */
import { Effect, Layer } from "effect"
import { CircuitBreakers } from "../../resilience/CircuitBreakers.ts"
import * as CircuitStoreRedis from "../redis/CircuitStoreRedis.ts"
import * as RateLimiterStoreRedis from "../redis/RateLimiterStoreRedis.ts"
import * as ReadinessRedis from "../redis/ReadinessRedis.ts"
import * as Client from "../redis/Redis.ts"
import { Settings } from "../settings/Settings.ts"

/** One connection for all that use it: a layer that is the same value is built once. */
const client = Layer.unwrap(
  Effect.map(Settings, ({ redisUrl }) =>
    redisUrl === undefined
      ? Layer.effect(Client.Redis, Effect.die(new Error("REDIS_URL is not set")))
      : Layer.orDie(Client.layer({ url: redisUrl })))
)

export const limits = RateLimiterStoreRedis.layer().pipe(Layer.provide(client))

export const circuits = CircuitBreakers.layerShared().pipe(
  Layer.provide(CircuitStoreRedis.layer()),
  Layer.provide(client)
)

export const readiness = ReadinessRedis.layer.pipe(Layer.provide(client))
