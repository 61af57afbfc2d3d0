/**
 * Limits counted in Redis, for all replicas together, on the server's clock.
 *
 * - What is asked in one turn of the event loop goes as one `EVALSHA`, one round trip, for up to 64 calls, however many
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
import type { Context } from "effect"
import { Cause, Effect, Exit, Fiber, Layer, Option } from "effect"
import { RateLimiterStore, RateLimiterStoreLost } from "../../resilience/RateLimiterStore.ts"
import type { Demand, Outcome } from "../../resilience/RateLimiterStore.ts"
import type { LuaScript } from "./LuaScript.ts"
import * as Scripts from "./RateLimiterScripts.ts"
import { Redis } from "./Redis.ts"

export interface RateLimiterStoreOptions {
  /** What the names of all keys begin with, in braces: their hash tag. `maas:limits` when not given. */
  readonly prefix?: string | undefined
}

/** A call, and who waits for what becomes of it. */
interface Waiting {
  readonly demands: ReadonlyArray<Demand>
  readonly resume: (outcome: Effect.Effect<Outcome, RateLimiterStoreLost>) => void
}

/**
 * The most calls of one script. No other client of the server waits for longer than these take, about 0.2 ms. To be sent
 * and received costs as much as several decisions, here and there.
 */
const mostTogether = 64

const isNonsense = new RateLimiterStoreLost({ cause: "not an answer to what was asked" })
const nonsense = Exit.fail(isNonsense)

const make = Effect.fnUntraced(function*(options: RateLimiterStoreOptions = {}) {
  const redis = yield* Redis
  const scope = yield* Effect.scope
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

  /** How many scripts have not been answered. */
  let underWay = 0
  /** What is asked in this turn. */
  let collecting: Set<Waiting> | undefined

  const ask = (batch: Set<Waiting>, evaluate: Redis["Service"]["evaluateUnsafe"]) => {
    if (collecting === batch) collecting = undefined
    if (batch.size === 0) return
    const all = [...batch]
    const calls = all.map(({ demands }) => demands)
    const { args, keys } = Scripts.takeInput(prefix, calls)
    underWay++
    evaluate(Scripts.take, keys, args, (answer) => {
      underWay--
      if (Exit.isFailure(answer)) {
        const lost = Exit.fail(new RateLimiterStoreLost({ cause: Cause.squash(answer.cause) }))
        for (const { resume } of all) resume(lost)
      } else {
        const outcomes = Option.getOrUndefined(Scripts.takeAnswer(answer.value, calls))
        all.forEach(({ resume }, index) => {
          const outcome = outcomes?.[index]
          resume(outcome === undefined ? nonsense : Exit.succeed(outcome))
        })
      }
    })
  }

  const collect = (fiber: Fiber.Fiber<unknown, unknown>): Set<Waiting> => {
    const batch = new Set<Waiting>()
    const send = () => ask(batch, fiber.cache.span?.sampled === true ? inSpanOf(fiber.context) : redis.evaluateUnsafe)
    // With nothing on its way to the server there is nothing to gain by waiting for others to ask.
    if (underWay === 0) queueMicrotask(send)
    else fiber.currentDispatcher.scheduleTask(send, 0)
    return batch
  }

  /** The span of the first that asks holds that of the script. */
  const inSpanOf =
    (context: Context.Context<never>): Redis["Service"]["evaluateUnsafe"] => (script, keys, args, tell) => {
      redis.evaluate(script, keys, args).pipe(
        Effect.onExit((answer) => Effect.sync(() => tell(answer))),
        Effect.runForkWith(context),
        Fiber.runIn(scope)
      )
    }

  const take = (demands: ReadonlyArray<Demand>) =>
    Effect.withFiber<Outcome, RateLimiterStoreLost>((fiber) =>
      Effect.callback((resume) => {
        const batch = collecting ??= collect(fiber)
        const waiting = { demands, resume }
        batch.add(waiting)
        if (batch.size === mostTogether) collecting = undefined
        return Effect.sync(() => batch.delete(waiting))
      })
    )

  return RateLimiterStore.of({
    take,
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
