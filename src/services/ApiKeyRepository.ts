import type { DateTime, Effect } from "effect"
import { Context } from "effect"
import type { ApiKey, ApiKeyId } from "../domain/access/ApiKey.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"

/** A key as it is kept: with the SHA-256 of its secret, never the secret. */
export interface ApiKeyRecord {
  readonly key: ApiKey
  readonly digest: Uint8Array
}

export class ApiKeyRepository extends Context.Service<ApiKeyRepository, {
  readonly insert: (record: ApiKeyRecord) => Effect.Effect<void, DependencyUnavailable>
  /** Keeps the key unless its digest is known already. */
  readonly insertIfAbsent: (record: ApiKeyRecord) => Effect.Effect<void, DependencyUnavailable>
  readonly find: (id: ApiKeyId) => Effect.Effect<ApiKey | undefined, DependencyUnavailable>
  /** Newest first, from below `before`. */
  readonly list: (
    page: { readonly before: ApiKeyId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<ApiKey>, DependencyUnavailable>
  /** Answers whether there is such a key. */
  readonly revoke: (id: ApiKeyId, at: DateTime.Utc) => Effect.Effect<boolean, DependencyUnavailable>
}>()("maas/services/ApiKeyRepository") {}
