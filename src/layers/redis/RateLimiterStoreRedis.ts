/**
 * Limits counted in Redis, for all replicas together, on the server's clock.
 *
 * - What is asked in one turn of the event loop goes as one `EVALSHA`, one round trip, for up to 32 calls, however many
 *   policies they have. A script runs to its end before Redis does anything else, so decisions are as if made one by one.
 * - Every key carries the same hash tag, so that a call may combine any policies in Redis Cluster too: all of a store's
 *   keys then live in one slot. A server decides far more than 100,000 limits a second; who needs more gives further
 *   stores prefixes of their own.
 * - A key expires once its state equals one that was never used, and a refusal does not put that off. Redis must not
 *   evict keys before, for that gives back what was taken: `maxmemory-policy noeviction`, with which a full server
 *   refuses, and each policy says what holds then.
 * - When another server takes over, what was taken in the last moments may be lost and taken again: replication is
 *   asynchronous.
 *
 * ```ts
 * const limits = RateLimiter.layer().pipe(
 *   Layer.provide(RateLimiterStoreRedis.layer()),
 *   Layer.provide(Redis.layer({ url }))
 * )
 * ```
 */
import { Effect, Exit, Layer, Option, Request, RequestResolver } from "effect"
import { RateLimiterStore, RateLimiterStoreLost } from "../../resilience/RateLimiterStore.ts"
import type { Demand, Outcome } from "../../resilience/RateLimiterStore.ts"
import type { LuaScript } from "./LuaScript.ts"
import * as Scripts from "./RateLimiterScripts.ts"
import { Redis } from "./Redis.ts"

export interface RateLimiterStoreOptions {
  /** What the names of all keys begin with, in braces: their hash tag. `maas:limits` when not given. */
  readonly prefix?: string | undefined
}

class Take extends Request.Class<{ readonly demands: ReadonlyArray<Demand> }, Outcome, RateLimiterStoreLost> {}

/**
 * The most calls of one script. No other client of the server waits for longer than these take, about 0.1 ms; and of many
 * calls some are decided by the server while others are written or read here.
 */
const mostTogether = 32

/** When all that runs now has had its turn. */
const soon = Effect.callback<void>((resume) => queueMicrotask(() => resume(Effect.void)))

const isNonsense = new RateLimiterStoreLost({ cause: "not an answer to what was asked" })

const make = Effect.fnUntraced(function*(options: RateLimiterStoreOptions = {}) {
  const redis = yield* Redis
  const prefix = `{${options.prefix ?? "maas:limits"}}`

  const run = <A>(
    script: LuaScript,
    { args, keys }: Scripts.Input,
    read: (answer: unknown) => Option.Option<A>
  ): Effect.Effect<A, RateLimiterStoreLost> =>
    Effect.matchEffect(redis.evaluate(script, keys, args), {
      onFailure: (cause) => Effect.fail(new RateLimiterStoreLost({ cause })),
      onSuccess: (answer) => Effect.mapError(Effect.fromOption(read(answer)), () => isNonsense)
    })

  let underWay = 0
  const takes = RequestResolver.make<Take>((entries) => {
    const calls = entries.map(({ request }) => request.demands)
    underWay++
    return run(Scripts.take, Scripts.takeInput(prefix, calls), (answer) => Scripts.takeAnswer(answer, calls)).pipe(
      Effect.map((outcomes) => {
        outcomes.forEach((outcome, index) => entries[index]?.completeUnsafe(Exit.succeed(outcome)))
      }),
      Effect.ensuring(Effect.sync(() => {
        underWay--
      }))
    )
  }).pipe(
    // With nothing on its way to the server there is nothing to gain by waiting for others to ask.
    RequestResolver.setDelayEffect(Effect.suspend(() => underWay === 0 ? soon : Effect.yieldNow)),
    RequestResolver.batchN(mostTogether)
  )

  return RateLimiterStore.of({
    take: (demands) => Effect.request(new Take({ demands }), takes),
    settle: (settlements) =>
      run(Scripts.settle, Scripts.settleInput(prefix, settlements), () => Option.some(undefined)),
    inspect: (keys) =>
      run(Scripts.inspect, Scripts.inspectInput(prefix, keys), (answer) => Scripts.inspectAnswer(answer, keys)),
    forget: (policy, key) =>
      redis.send(["DEL", Scripts.keyOf(prefix, { policy, key })]).pipe(
        Effect.mapError((cause) => new RateLimiterStoreLost({ cause })),
        Effect.asVoid
      )
  })
})

export const layer = (options?: RateLimiterStoreOptions): Layer.Layer<RateLimiterStore, never, Redis> =>
  Layer.effect(RateLimiterStore, make(options))
