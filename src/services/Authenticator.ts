import { Clock, Context, DateTime, Duration, Effect, Layer, Redacted } from "effect"
import * as Hex from "effect/encoding/Hex"
import { Principal, Unauthenticated } from "../domain/access/Principal.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { hitsAndMisses, show } from "../resilience/PulledMetrics.ts"
import { ApiKeyLookup } from "./ApiKeyLookup.ts"
import type { ApiKeyRecord } from "./ApiKeyRepository.ts"
import { KeyDigest } from "./KeyDigest.ts"

/** How long a key that was found good is believed so, in milliseconds: the longest that a revoked one may still work. */
const cacheMillis = 5_000
const cacheSize = 1_000

export interface AuthenticatorOptions {
  /**
   * How long a key that was found good is believed after that while nobody can be asked: also the longest that one which
   * is revoked in that time still works.
   */
  readonly believedUnasked: Duration.Input
}

interface Believed {
  readonly principal: Principal
  /** Until when nobody need be asked, and until when it holds where nobody can be: milliseconds since the epoch. */
  until: number
  readonly atMost: number
}

/** Tells from the secret of a request who calls. */
export class Authenticator extends Context.Service<Authenticator, {
  /** The caller whose key was found good lately: asks nobody. `now` in milliseconds since the epoch. */
  readonly recall: (secret: Redacted.Redacted, now: number) => Principal | undefined
  /** Whether the key was found good before, and has not turned out otherwise since. */
  readonly wasGood: (secret: Redacted.Redacted) => Effect.Effect<boolean>
  /** Looks the key up. */
  readonly authenticate: (
    secret: Redacted.Redacted
  ) => Effect.Effect<Principal, Unauthenticated | DependencyUnavailable>
  /** Forgets every key that was found good, so that the next call looks anew. */
  readonly forget: Effect.Effect<void>
}>()("maas/services/Authenticator") {
  static readonly layer = (options: AuthenticatorOptions) =>
    Layer.effect(
      Authenticator,
      Effect.gen(function*() {
        const keys = yield* ApiKeyLookup
        const digests = yield* KeyDigest
        const unaskedMillis = Duration.toMillis(options.believedUnasked)
        const believed = new Map<string, Believed>()
        let epoch = 0
        const answers = { hit: 0, miss: 0 }
        yield* show(hitsAndMisses("keys", answers))

        const isGood = ({ key }: ApiKeyRecord, now: number) =>
          key.revokedAt === null && (key.expiresAt === null || DateTime.toEpochMillis(key.expiresAt) > now)

        /** Nobody can be asked: what was known holds a little longer. */
        const unasked = (cacheKey: string, error: DependencyUnavailable) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const known = believed.get(cacheKey)
            if (known === undefined || known.atMost <= now) return Effect.fail(error)
            known.until = Math.min(now + cacheMillis, known.atMost)
            return Effect.succeed(known.principal)
          })

        const ask = Effect.fn("Authenticator.lookUp")(function*(digest: Uint8Array, cacheKey: string) {
          const before = epoch
          const found = yield* keys.findByDigest(digest)
          const now = yield* Clock.currentTimeMillis
          if (found === undefined || !digests.equal(found.digest, digest) || !isGood(found, now)) {
            believed.delete(cacheKey)
            return yield* new Unauthenticated()
          }
          const { id, name, scopes, plan, expiresAt } = found.key
          const principal = new Principal({ keyId: id, name, scopes, plan })
          if (believed.size >= cacheSize) believed.clear()
          if (before === epoch) {
            const expiry = expiresAt === null ? Infinity : DateTime.toEpochMillis(expiresAt)
            const until = Math.min(now + cacheMillis, expiry)
            believed.set(cacheKey, { principal, until, atMost: Math.min(now + unaskedMillis, expiry) })
          }
          return principal
        })

        const lookUp = (digest: Uint8Array, cacheKey: string) =>
          Effect.catchTag(ask(digest, cacheKey), "DependencyUnavailable", (error) => unasked(cacheKey, error))

        /** What can't be a key needs no database to be refused. */
        const isLikeAKey = (text: string) => text.startsWith("maas_") && text.length <= 200

        /** A secret that is asked about again and again is digested once. */
        const cacheKeys = new WeakMap<Redacted.Redacted, string>()
        const cacheKeyOf = (secret: Redacted.Redacted) => {
          const known = cacheKeys.get(secret)
          if (known !== undefined) return known
          const made = Hex.encode(digests.digest(Redacted.value(secret)))
          cacheKeys.set(secret, made)
          return made
        }

        const recall = (secret: Redacted.Redacted, now: number) => {
          if (!isLikeAKey(Redacted.value(secret))) return undefined
          const hit = believed.get(cacheKeyOf(secret))
          if (hit === undefined || hit.until <= now) {
            answers.miss++
            return undefined
          }
          answers.hit++
          return hit.principal
        }

        const authenticate = Effect.fnUntraced(function*(secret: Redacted.Redacted) {
          const text = Redacted.value(secret)
          if (!isLikeAKey(text)) return yield* new Unauthenticated()
          const digest = digests.digest(text)
          return yield* lookUp(digest, Hex.encode(digest))
        })

        return Authenticator.of({
          recall,
          wasGood: (secret) => Effect.sync(() => believed.has(Hex.encode(digests.digest(Redacted.value(secret))))),
          authenticate,
          forget: Effect.sync(() => {
            epoch++
            believed.clear()
          })
        })
      })
    )
}
