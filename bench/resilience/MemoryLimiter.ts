/** The rate limiter in memory beside rate-limiter-flexible and Effect's own: its decisions, and what its keys take. */
import { Duration, Effect, Layer, Result } from "effect"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { RateLimitPolicy } from "../../src/resilience/ratelimit/Policy.ts"
import type { Algorithm } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../src/resilience/RateLimiterStoreMemory.ts"
import { ofEffect, ofPromise } from "./Contestants.ts"
import { compare } from "./Rounds.ts"
import type { Row } from "./Table.ts"

/** Keys in turn: real limiters do not answer the same caller each time. */
const keys = Array.from({ length: 1_000 }, (_, index) => `caller-${index}`)
const keyOf = (n: number): string => keys[n % keys.length] ?? ""
/** Calls together allow so many; a decision that admits is the case to be fast in. */
const plenty = 1_000_000
const window = Duration.minutes(1)

/** By one caller, or by many that are in flight together. */
const loads = { "one caller": 1, "64 callers in flight": 64 }

const policyOf = (algorithm: Algorithm): RateLimitPolicy =>
  Result.getOrThrow(RateLimitPolicy.make({ name: algorithm, limit: plenty, window, algorithm }))

const algorithms: ReadonlyArray<Algorithm> = ["fixed-window", "token-bucket", "leaky-bucket", "sliding-window"]

const decisions = Effect.gen(function*() {
  const ours = yield* RateLimiter
  const effects = yield* EffectRateLimiter.RateLimiter
  const flexible = new RateLimiterMemory({ points: plenty, duration: 60 })
  return yield* Effect.forEach(algorithms, (algorithm) => {
    const policy = policyOf(algorithm)
    return Effect.forEach(Object.entries(loads), ([load, callers]) =>
      compare({
        figure: `${algorithm}, ${load}, a decision`,
        operations: 64_000,
        ours: ofEffect("ours", (n) => ours.tryAcquire({ policy, key: keyOf(n) }), callers),
        peers: [
          ofPromise("rate-limiter-flexible", (n) => flexible.consume(keyOf(n), 1), callers),
          ofEffect(
            "Effect's RateLimiter",
            (n) =>
              effects.consume({
                key: keyOf(n),
                limit: plenty,
                window,
                algorithm: algorithm === "fixed-window" ? "fixed-window" : "token-bucket"
              }),
            callers
          )
        ],
        // The exact log keeps every call, which nobody else does.
        wanted: algorithm === "sliding-window" ? 0 : 1
      }))
  })
}).pipe(
  Effect.map((rows) => rows.flat(2)),
  Effect.provide([
    RateLimiter.layer().pipe(Layer.provide(RateLimiterStoreMemory.layer())),
    EffectRateLimiter.layer.pipe(Layer.provide(EffectRateLimiter.layerStoreMemory))
  ])
)

/** Megabytes that a million keys take, and that are still taken when they no longer count. */
const keysOf = (limiter: string) =>
  Effect.promise(async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--expose-gc",
      join(import.meta.dirname, "KeysInMemory.ts"),
      limiter
    ])
    const [full = Number.NaN, after = Number.NaN] = stdout.split(" ").map((bytes) => Number(bytes) / 1e6)
    return { full, after }
  })

const memory = Effect.gen(function*() {
  const peers = [
    { name: "rate-limiter-flexible", ...(yield* keysOf("flexible")) },
    { name: "Effect's RateLimiter", ...(yield* keysOf("effect")) }
  ]
  const rows = yield* Effect.forEach(
    algorithms,
    (algorithm) =>
      Effect.map(keysOf(algorithm), ({ after, full }) =>
        peers.map((peer): Row => ({
          figure: `${algorithm}, 1,000,000 keys → all expired, MB of heap`,
          ours: `${full.toFixed(0)} → ${after.toFixed(0)}`,
          peer: `${peer.name}: ${peer.full.toFixed(0)} → ${peer.after.toFixed(0)}`,
          ratio: peer.full / full,
          wanted: "< 200 → < 5",
          isMet: full < 200 && after < 5
        })))
  )
  return rows.flat()
})

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.map(
  Effect.all([decisions, memory]),
  ([decisions, memory]) => [...decisions, ...memory]
)
