import { Schema } from "effect"
import { PlanName } from "./RateLimit.ts"

export const Scope = Schema.Literals(["models:read", "models:write", "inference", "admin"])
export type Scope = typeof Scope.Type

export const ApiKeyId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("ApiKeyId"))
export type ApiKeyId = typeof ApiKeyId.Type

export const ApiKeyName = Schema.String.check(Schema.isTrimmed(), Schema.isBetweenLength(1, 200))

/** What is known of a key once it was handed out; the secret itself is never kept. */
export class ApiKey extends Schema.Class<ApiKey>("maas/domain/ApiKey")({
  id: ApiKeyId,
  name: ApiKeyName,
  scopes: Schema.Array(Scope),
  /** Whose limits hold for it; everybody's where it has none. */
  plan: Schema.NullOr(PlanName),
  createdAt: Schema.DateTimeUtcFromString,
  expiresAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  revokedAt: Schema.NullOr(Schema.DateTimeUtcFromString)
}) {}

export class ApiKeyNotFound extends Schema.TaggedError<ApiKeyNotFound>()("ApiKeyNotFound", { id: ApiKeyId }) {
  override get message() {
    return `There is no key '${this.id}'`
  }
}
