import { Clock, Context, Effect, Exit, Layer, Metric } from "effect"
import { RateLimited } from "../../domain/access/RateLimit.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import * as Instruments from "../../resilience/ratelimit/Instruments.ts"
import { MemoryStore } from "../../resilience/ratelimit/MemoryStore.ts"
import type { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import { Cost } from "../../resilience/RateLimiterStore.ts"
import { Settings } from "../settings/Settings.ts"
import { ClientAddress } from "./ClientAddress.ts"
import type { RequestOrigin } from "./ClientAddress.ts"

/** More addresses than this share what they may try: see `MemoryTable`. */
const maxAddresses = 100_000

/**
 * Limits how many wrong keys an address may try, before any of them is looked up: a flood of them reaches neither the
 * database nor Redis, since it is counted in this process alone.
 */
export class WrongKeys extends Context.Service<WrongKeys, {
  /** Runs the look-up if the address may still try one; only one that fails with `Unauthenticated` counts. */
  readonly guard: <A, E extends { readonly _tag: string }>(
    origin: RequestOrigin,
    lookUp: Effect.Effect<A, E>
  ) => Effect.Effect<A, E | RateLimited>
}>()("maas/layers/http/WrongKeys") {
  static readonly layer = Layer.effect(
    WrongKeys,
    Effect.gen(function*() {
      const { limitWrongKeys } = yield* Settings
      return limitWrongKeys === "off"
        ? WrongKeys.of({ guard: (_, lookUp) => lookUp })
        : yield* limited(limitWrongKeys)
    })
  )
}

const one = Cost.make(1)

const limited = Effect.fnUntraced(function*(policy: RateLimitPolicy) {
  const addresses = yield* ClientAddress
  const directory = yield* PolicyDirectory
  const clock = yield* Clock.Clock
  const store = new MemoryStore(maxAddresses)
  const now = () => Math.floor(clock.currentTimeMillisUnsafe())

  yield* Effect.orDie(directory.register({
    kind: "RateLimit",
    name: policy.name,
    policy,
    left: (key) =>
      Effect.sync(() => {
        const [left] = store.inspect([{ policy, key }], now())
        return {
          policy: policy.name,
          quota: policy.capacity,
          windowMillis: policy.refillMillis,
          remaining: left?.remaining ?? policy.capacity,
          resetMillis: left?.resetMillis ?? 0
        }
      }),
    forget: (key) => Effect.sync(() => store.forget(policy, key))
  }))
  const decisions = yield* Instruments.counters((attributes) =>
    Metric.counter("rate_limiter_decisions_total", {
      description: "Calls by policy and how they ended: allowed, denied, impossible, interrupted",
      attributes,
      incremental: true
    })
  )
  const allowed = decisions({ policy: policy.name, decision: "allowed" })
  const denied = decisions({ policy: policy.name, decision: "denied" })

  return WrongKeys.of({
    guard: <A, E extends { readonly _tag: string }>(origin: RequestOrigin, lookUp: Effect.Effect<A, E>) =>
      Effect.suspend((): Effect.Effect<A, E | RateLimited> => {
        const demand = { policy, key: addresses.of(origin), cost: one }
        // Taken before the look-up, so that a thousand at once are no more than a thousand in turn
        const outcome = store.take([demand], now())
        if (outcome._tag === "NotTaken") {
          denied.count++
          return Effect.fail(
            new RateLimited({
              policy: policy.name,
              retryAfterSeconds: Math.max(1, Math.ceil(outcome.retryAfterMillis / 1_000))
            })
          )
        }
        allowed.count++
        return Effect.onExit(lookUp, (exit) =>
          Effect.sync(() => {
            if (isWrong(exit)) return
            store.settle(outcome.grants.map((grant) => ({ demand, grant, actual: 0 })), now())
          }))
      })
  })
})

/** A caller that went away before it was known whether its key is good has tried one, too. */
const isWrong = <A, E extends { readonly _tag: string }>(exit: Exit.Exit<A, E>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) =>
    reason._tag === "Interrupt" || (reason._tag === "Fail" && reason.error._tag === "Unauthenticated")
  )
