import { Clock, Context, Effect, Exit, Fiber, Layer, Metric, Redacted } from "effect"
import type { Principal, Unauthenticated } from "../../domain/access/Principal.ts"
import { RateLimited } from "../../domain/access/RateLimit.ts"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import * as Instruments from "../../resilience/ratelimit/Instruments.ts"
import { MemoryStore } from "../../resilience/ratelimit/MemoryStore.ts"
import type { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import { Cost } from "../../resilience/RateLimiterStore.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { Settings } from "../settings/Settings.ts"
import { ClientAddress } from "./ClientAddress.ts"
import type { RequestOrigin } from "./ClientAddress.ts"

/** More addresses than this share what they may try: see `MemoryTable`. */
const maxAddresses = 100_000

type Refusal = Unauthenticated | RateLimited | DependencyUnavailable

/**
 * Looks keys up for requests: once for all that ask together, and no more wrong ones than an address may try. These are
 * counted before the look-up and in this process alone, so that a flood of them reaches neither the database nor Redis.
 * A key that was good before is always looked up: nobody shuts out those who share an address with him.
 */
export class KeyLookUp extends Context.Service<KeyLookUp, {
  readonly authenticate: (origin: RequestOrigin, secret: Redacted.Redacted) => Effect.Effect<Principal, Refusal>
}>()("maas/layers/http/KeyLookUp") {
  static readonly layer = Layer.effect(
    KeyLookUp,
    Effect.gen(function*() {
      const { limitWrongKeys } = yield* Settings
      const authenticator = yield* Authenticator
      const addresses = yield* ClientAddress
      const attempt = limitWrongKeys === "off" ? freely : yield* limitedBy(limitWrongKeys)
      const scope = yield* Effect.scope
      const underWay = new Map<string, Fiber.Fiber<Principal, Refusal>>()

      /** Goes on to its end when who asked first has gone: others may wait for it, and it counts. */
      const together = (id: string, lookUp: Effect.Effect<Principal, Refusal>) =>
        Effect.suspend(() => {
          const asked = underWay.get(id)
          if (asked !== undefined) return Fiber.join(asked)
          return lookUp.pipe(
            Effect.ensuring(Effect.sync(() => underWay.delete(id))),
            Effect.forkIn(scope),
            Effect.tap((fiber) => Effect.sync(() => underWay.set(id, fiber))),
            Effect.uninterruptible,
            Effect.flatMap(Fiber.join)
          )
        })

      return KeyLookUp.of({
        authenticate: (origin, secret) =>
          Effect.flatMap(authenticator.wasGood(secret), (wasGood) => {
            const lookUp = authenticator.authenticate(secret)
            if (wasGood) return together(Redacted.value(secret), lookUp)
            const address = addresses.of(origin)
            return together(`${address} ${Redacted.value(secret)}`, attempt(address, lookUp))
          })
      })
    })
  )
}

type LookUp = Effect.Effect<Principal, Unauthenticated | DependencyUnavailable>

const freely = (_: string, lookUp: LookUp): Effect.Effect<Principal, Refusal> => lookUp

const one = Cost.make(1)

const limitedBy = Effect.fnUntraced(function*(policy: RateLimitPolicy) {
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

  return (address: string, lookUp: LookUp): Effect.Effect<Principal, Refusal> =>
    Effect.suspend((): Effect.Effect<Principal, Refusal> => {
      const demand = { policy, key: address, cost: one }
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

const isWrong = (exit: Exit.Exit<Principal, Unauthenticated | DependencyUnavailable>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause.reasons.some((reason) => reason._tag === "Fail" && reason.error._tag === "Unauthenticated")
