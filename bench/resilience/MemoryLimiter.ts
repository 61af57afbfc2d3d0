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
import { compare } from "./Rounds.ts"
import type { Contestant } from "./Rounds.ts"
import type { Row } from "./Table.ts"

/** Keys in turn: real limiters do not answer the same caller each time. */
const keys = Array.from({ length: 1_000 }, (_, index) => `caller-${index}`)
const keyOf = (n: number): string => keys[n % keys.length] ?? ""
const callers = 64
/** Calls together allow so many; a decision that admits is the case to be fast in. */
const plenty = 1_000_000
const window = Duration.minutes(1)

/** How a load of operations is made: by one caller, each decision awaited; or by many callers in flight together. */
type Load = "one caller" | "64 callers in flight"

const ofEffects = (name: string, decide: (key: string) => Effect.Effect<unknown, unknown>, load: Load): Contestant => {
  const loop = Effect.fnUntraced(function*(operations: number) {
    for (let n = 0; n < operations; n++) yield* decide(keyOf(n))
  }, Effect.orDie)
  return {
    name,
    run: load === "one caller" ?
      loop :
      (operations) =>
        Effect.forEach(Array.from({ length: callers }), () => loop(operations / callers), {
          concurrency: "unbounded",
          discard: true
        })
  }
}

const ofPromises = (name: string, decide: (key: string) => Promise<unknown>, load: Load): Contestant => {
  const loop = async (operations: number) => {
    for (let n = 0; n < operations; n++) await decide(keyOf(n))
  }
  return {
    name,
    run: load === "one caller"
      ? (operations) => Effect.promise(() => loop(operations))
      : (operations) =>
        Effect.promise(() => Promise.all(Array.from({ length: callers }, () => loop(operations / callers))))
  }
}

const policyOf = (algorithm: Algorithm): RateLimitPolicy =>
  Result.getOrThrow(RateLimitPolicy.make({ name: algorithm, limit: plenty, window, algorithm }))

const algorithms: ReadonlyArray<Algorithm> = ["fixed-window", "token-bucket", "leaky-bucket", "sliding-window"]
const loads: ReadonlyArray<Load> = ["one caller", "64 callers in flight"]

const decisions = Effect.gen(function*() {
  const ours = yield* RateLimiter
  const effects = yield* EffectRateLimiter.RateLimiter
  const flexible = new RateLimiterMemory({ points: plenty, duration: 60 })
  return yield* Effect.forEach(algorithms, (algorithm) => {
    const policy = policyOf(algorithm)
    return Effect.forEach(loads, (load) =>
      compare({
        figure: `${algorithm}, ${load}, a decision`,
        operations: 64_000,
        ours: ofEffects("ours", (key) => ours.tryAcquire({ policy, key }), load),
        peers: [
          ofPromises("rate-limiter-flexible", (key) => flexible.consume(key, 1), load),
          ofEffects(
            "Effect's RateLimiter",
            (key) =>
              effects.consume({
                key,
                limit: plenty,
                window,
                algorithm: algorithm === "fixed-window" ? "fixed-window" : "token-bucket"
              }),
            load
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
