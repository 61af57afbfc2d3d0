/** The rate limiter in Redis beside the least that a decision there could be: an `EVALSHA` that does one `INCR`. */
import { Context, Effect, Layer, Redacted, Result, Schedule } from "effect"
import { createHash } from "node:crypto"
import { createClient } from "redis"
import * as RateLimiterStoreRedis from "../../src/layers/redis/RateLimiterStoreRedis.ts"
import * as Redis from "../../src/layers/redis/Redis.ts"
import type { Algorithm } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimitPolicy } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import { ofEffect, ofPromise } from "./Contestants.ts"
import * as RedisServer from "./RedisServer.ts"
import { compare } from "./Rounds.ts"
import type { Row } from "./Table.ts"

const keys = Array.from({ length: 1_000 }, (_, index) => `caller-${index}`)
const keyOf = (n: number): string => keys[n % keys.length] ?? ""

const loads = { "one caller": 1, "64 callers in flight": 64 }

/** All are admitted, and the exact log holds no more than is usual. */
const policyOf = (algorithm: Algorithm): RateLimitPolicy =>
  Result.getOrThrow(
    RateLimitPolicy.make({ name: algorithm, limit: 100_000, window: "1 second", algorithm, onStoreLost: "failClosed" })
  )

const algorithms: ReadonlyArray<Algorithm> = ["fixed-window", "token-bucket", "leaky-bucket", "sliding-window"]

const increment = "return redis.call('INCR', KEYS[1])"

/** The client that ours is built on, alone. */
const bareClient = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = createClient({ url: `redis://127.0.0.1:${port}` })
      await client.connect()
      await client.scriptLoad(increment)
      return client
    }),
    (client) => Effect.sync(() => client.destroy())
  )

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const port = yield* RedisServer.start
  const client = yield* bareClient(port)
  const sha1 = createHash("sha1").update(increment).digest("hex")
  const context = yield* Layer.build(
    RateLimiter.layer().pipe(
      Layer.provide(RateLimiterStoreRedis.layer()),
      Layer.provideMerge(
        Redis.layer({
          url: Redacted.make(`redis://127.0.0.1:${port}`),
          commandTimeout: "10 seconds",
          hungAfter: "20 seconds"
        })
      )
    )
  )
  const { isConnected } = Context.get(context, Redis.Redis)
  yield* Effect.repeat(isConnected, { until: (is) => is, schedule: Schedule.spaced("10 millis") })
  const { tryAcquire } = Context.get(context, RateLimiter)
  const compared = yield* Effect.forEach(algorithms, (algorithm) => {
    const policy = policyOf(algorithm)
    return Effect.forEach(Object.entries(loads), ([load, callers]) =>
      compare({
        figure: `Redis, ${algorithm}, ${load}, a decision`,
        operations: callers === 1 ? 1_500 : 12_800,
        ours: ofEffect("ours", (n) => tryAcquire({ policy, key: keyOf(n) }), callers),
        peers: [
          ofPromise(
            "bare EVALSHA of one INCR",
            (n) => client.evalSha(sha1, { keys: [keyOf(n)], arguments: [] }),
            callers
          )
        ],
        wanted: 0.8
      }))
  })
  return compared.flat(2)
}).pipe(Effect.orDie, Effect.scoped)
