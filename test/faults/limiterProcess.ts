/** A program that takes from limits in Redis as fast as it can, and writes how much it was granted of each. */
import { Console, Effect, Layer, Redacted, Schedule } from "effect"
import * as RateLimiterStoreRedis from "../../src/layers/redis/RateLimiterStoreRedis.ts"
import * as Redis from "../../src/layers/redis/Redis.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import { algorithms, policyOf } from "../laws/ratelimit/Histories.ts"

const [, , url = "", attempts = "", limit = ""] = process.argv

// A machine that is busy with other tests is no reason to count without Redis.
const redis = Redis.layer({ url: Redacted.make(url), commandTimeout: "10 seconds", hungAfter: "20 seconds" })

Effect.gen(function*() {
  const { isConnected } = yield* Redis.Redis
  yield* Effect.repeat(isConnected, { until: (is) => is, schedule: Schedule.spaced("10 millis") })
  const { tryAcquire } = yield* RateLimiter
  const policies = algorithms.map((algorithm) =>
    policyOf({ name: algorithm, algorithm, limit: Number(limit), window: "30 days", onStoreLost: "failClosed" })
  )
  const turns = Array.from({ length: Number(attempts) }, (_, turn) => policies[turn % policies.length]).flatMap((
    policy
  ) => policy === undefined ? [] : [policy])
  const granted = yield* Effect.forEach(
    turns,
    (policy) =>
      Effect.map(tryAcquire({ policy, key: "shared" }), ({ _tag }) => _tag === "Allowed" ? [policy.algorithm] : []),
    { concurrency: 50 }
  )
  yield* Console.log(JSON.stringify(Object.groupBy(granted.flat(), (algorithm) => algorithm)))
}).pipe(
  Effect.provide(
    RateLimiter.layer().pipe(Layer.provide(RateLimiterStoreRedis.layer()), Layer.provideMerge(redis))
  ),
  Effect.runFork
)
