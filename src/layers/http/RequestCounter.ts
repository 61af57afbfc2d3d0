import { Context, Effect, Layer } from "effect"
import type { Principal } from "../../domain/access/Principal.ts"
import type { LimitName } from "../../domain/access/RateLimit.ts"
import type { Allowed, Denied } from "../../resilience/ratelimit/Limiter.ts"
import { RateLimiter } from "../../resilience/RateLimiter.ts"
import { ClientAddress } from "./ClientAddress.ts"
import type { RequestOrigin } from "./ClientAddress.ts"
import { RequestLimits } from "./RequestLimits.ts"

/** Undefined where the caller's plan has no limit. */
export type Decision = Allowed | Denied | undefined

const unlimited: Effect.Effect<Decision> = Effect.as(Effect.void, undefined)

/** Counts each request against its limit, once, whichever ways it goes. */
export class RequestCounter extends Context.Service<RequestCounter, {
  /** Counts requests against one limit; undefined where it is off for everybody, so that they need cost nothing. */
  readonly of: (name: LimitName) => ((origin: RequestOrigin, caller: Principal) => Effect.Effect<Decision>) | undefined
  /** Keeps what was decided of a request that goes another way now, and would be counted there again. */
  readonly keep: (request: object, decision: Decision) => void
  readonly kept: (request: object) => Decision
}>()("maas/layers/http/RequestCounter") {
  static readonly layer = Layer.effect(
    RequestCounter,
    Effect.gen(function*() {
      const limiter = yield* RateLimiter
      const limits = yield* RequestLimits
      const addresses = yield* ClientAddress
      const decisions = new WeakMap<object, Decision>()

      return RequestCounter.of({
        of: (name) => {
          const limitOf = limits.of(name)
          if (limitOf === undefined) return undefined
          return (origin, { keyId, plan }) => {
            const limit = limitOf(plan)
            if (limit === undefined) return unlimited
            const { per, policy } = limit
            const key = per === "key" ? keyId : per === "address" ? addresses.of(origin) : per
            // A cost of one is never above a capacity
            return Effect.orDie(limiter.tryAcquire({ policy, key }))
          }
        },
        keep: (request, decision) => {
          decisions.set(request, decision)
        },
        kept: (request) => decisions.get(request)
      })
    })
  )

  /** Behind a gateway, which has counted already. */
  static readonly none = Layer.succeed(
    RequestCounter,
    RequestCounter.of({ of: () => undefined, keep: () => undefined, kept: () => undefined })
  )
}
