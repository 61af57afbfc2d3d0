import type { Duration } from "effect"
import { Context, DateTime, Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import type { ApiKeyName, Scope } from "../domain/access/ApiKey.ts"
import { ApiKey, ApiKeyId, ApiKeyNotFound } from "../domain/access/ApiKey.ts"
import type { PlanName } from "../domain/access/RateLimit.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { ApiKeyRepository } from "./ApiKeyRepository.ts"
import { KeyDigest } from "./KeyDigest.ts"

const secretBytes = 32
const adminName = "bootstrap admin"

/** Hands out keys and takes them back. */
export class ApiKeys extends Context.Service<ApiKeys, {
  /** The secret is in this answer and nowhere else. */
  readonly create: (draft: {
    readonly name: typeof ApiKeyName.Type
    readonly scopes: ReadonlyArray<Scope>
    readonly plan: PlanName | null
    readonly lifetime: Duration.Duration | undefined
  }) => Effect.Effect<{ readonly key: ApiKey; readonly secret: Redacted.Redacted }, DependencyUnavailable>
  /** Makes this secret an admin's key, unless it is one already. */
  readonly ensureAdmin: (secret: Redacted.Redacted) => Effect.Effect<void, DependencyUnavailable>
  /** A new secret that nobody has yet. */
  readonly generateSecret: Effect.Effect<Redacted.Redacted>
  readonly get: (id: ApiKeyId) => Effect.Effect<ApiKey, ApiKeyNotFound | DependencyUnavailable>
  readonly list: ApiKeyRepository["Service"]["list"]
  /** A revoked key is refused at once in this process, and within `Authenticator.cacheMillis` in others. */
  readonly revoke: (id: ApiKeyId) => Effect.Effect<void, ApiKeyNotFound | DependencyUnavailable>
}>()("maas/services/ApiKeys") {
  static readonly layer = Layer.effect(
    ApiKeys,
    Effect.gen(function*() {
      const repository = yield* ApiKeyRepository
      const digests = yield* KeyDigest
      const random = yield* SecureRandom.SecureRandom

      const generateSecret = Effect.map(
        random.randomBytes(secretBytes),
        (bytes) => Redacted.make(`maas_${Base64Url.encode(bytes)}`, { label: "API key" })
      )

      const record = Effect.fnUntraced(function*(
        secret: Redacted.Redacted,
        draft: Parameters<ApiKeys["Service"]["create"]>[0]
      ) {
        const now = yield* DateTime.now
        const key = new ApiKey({
          id: ApiKeyId.make(yield* random.uuidV7()),
          name: draft.name,
          scopes: draft.scopes,
          plan: draft.plan,
          createdAt: now,
          expiresAt: draft.lifetime === undefined ? null : DateTime.addDuration(now, draft.lifetime),
          revokedAt: null
        })
        return { key, digest: digests.digest(Redacted.value(secret)) }
      })

      const create = Effect.fn("ApiKeys.create")(function*(draft: Parameters<ApiKeys["Service"]["create"]>[0]) {
        const secret = yield* generateSecret
        const made = yield* record(secret, draft)
        yield* repository.insert(made)
        return { key: made.key, secret }
      })

      const ensureAdmin = Effect.fn("ApiKeys.ensureAdmin")(function*(secret: Redacted.Redacted) {
        yield* repository.insertIfAbsent(
          yield* record(secret, { name: adminName, scopes: ["admin"], plan: null, lifetime: undefined })
        )
      })

      const get = Effect.fn("ApiKeys.get")(function*(id: ApiKeyId) {
        const key = yield* repository.find(id)
        return key ?? (yield* new ApiKeyNotFound({ id }))
      })

      const revoke = Effect.fn("ApiKeys.revoke")(function*(id: ApiKeyId) {
        const known = yield* repository.revoke(id, yield* DateTime.now)
        if (!known) return yield* new ApiKeyNotFound({ id })
      })

      return ApiKeys.of({ create, ensureAdmin, generateSecret, get, list: repository.list, revoke })
    })
  )
}
