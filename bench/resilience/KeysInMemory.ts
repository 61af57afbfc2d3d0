/**
 * How much of the heap a million keys take in one limiter, and how much is left of that once they no longer count. Run
 * by `MemoryLimiter.ts` in a process of its own for each limiter, with `--expose-gc`; prints two numbers of bytes.
 */
import { Console, Duration, Effect, Layer, Option, Result, Schema } from "effect"
import * as EffectRateLimiter from "effect/persistence/RateLimiter"
import { TestClock } from "effect/testing"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { Algorithm, RateLimitPolicy } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../src/resilience/RateLimiterStoreMemory.ts"

const keys = 1_000_000
const window = Duration.minutes(1)
/** Real time, for the one that counts on timers: longer than it takes to fill. */
const realSeconds = 20

const heap = Effect.sync(() => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
})

const measured = Effect.fnUntraced(
  function*(fill: (key: string) => Effect.Effect<unknown>, expire: Effect.Effect<void>) {
    yield* fill("the first")
    const before = yield* heap
    for (let n = 0; n < keys; n++) yield* fill(`key-${n}`)
    const full = yield* heap
    yield* expire
    yield* Console.log(`${full - before} ${(yield* heap) - before}`)
  }
)

const clock = TestClock.layer({ warningDelay: Duration.minutes(5) })

const ours = (algorithm: Algorithm) =>
  Effect.gen(function*() {
    const policy = Result.getOrThrow(RateLimitPolicy.make({ name: algorithm, limit: 100, window, algorithm }))
    const { tryAcquire } = yield* RateLimiter
    const decide = (key: string) => Effect.orDie(tryAcquire({ policy, key }))
    yield* measured(decide, TestClock.adjust(Duration.minutes(5)))
  }).pipe(
    Effect.provide(
      RateLimiter.layer().pipe(
        Layer.provide(RateLimiterStoreMemory.layer({ maxKeys: 2 * keys })),
        Layer.provideMerge(clock)
      )
    )
  )

const effects = Effect.gen(function*() {
  const { consume } = yield* EffectRateLimiter.RateLimiter
  const decide = (key: string) => Effect.orDie(consume({ key, limit: 100, window }))
  yield* measured(decide, TestClock.adjust(Duration.minutes(5)))
}).pipe(
  Effect.provide(
    EffectRateLimiter.layer.pipe(Layer.provide(EffectRateLimiter.layerStoreMemory), Layer.provideMerge(clock))
  )
)

const flexible = Effect.suspend(() => {
  const limiter = new RateLimiterMemory({ points: 100, duration: realSeconds })
  return measured((key) => Effect.promise(() => limiter.consume(key)), Effect.sleep(Duration.seconds(realSeconds + 1)))
})

const name = process.argv[2] ?? ""
const algorithm = Schema.decodeUnknownOption(Algorithm)(name)
Effect.runFork(Option.isSome(algorithm) ? ours(algorithm.value) : name === "effect" ? effects : flexible)
