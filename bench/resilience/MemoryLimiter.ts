/** Decisions of the rate limiter in memory beside those of rate-limiter-flexible and Effect's own. */
import { Duration, Effect, Layer, Result } from "effect"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { RateLimitPolicy } from "../../src/resilience/ratelimit/Policy.ts"
import type { Algorithm } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../src/resilience/RateLimiterStoreMemory.ts"
import { compare } from "./Rounds.ts"
import type { Contestant } from "./Rounds.ts"

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

export const rows = Effect.gen(function*() {
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
