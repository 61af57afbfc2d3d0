import { Schema } from "effect"
import { ApiKeyId, Scope } from "./ApiKey.ts"
import { PlanName } from "./RateLimit.ts"

/** Who calls: the key that the request carried. */
export class Principal extends Schema.Class<Principal>("maas/domain/Principal")({
  keyId: ApiKeyId,
  name: Schema.String,
  scopes: Schema.Array(Scope),
  plan: Schema.NullOr(PlanName)
}) {
  /** `admin` may do everything. */
  may(scope: Scope): boolean {
    return this.scopes.includes(scope) || this.scopes.includes("admin")
  }
}

/** No key, or one that is unknown, expired or revoked: which of these is not said. */
export class Unauthenticated extends Schema.TaggedError<Unauthenticated>()("Unauthenticated", {}) {
  override get message() {
    return "Send a valid API key as 'Authorization: Bearer maas_…' or 'X-API-Key: maas_…'"
  }
}

/** The key is good, but has not the scope that this call needs. */
export class ScopeMissing extends Schema.TaggedError<ScopeMissing>()("ScopeMissing", { scope: Scope }) {
  override get message() {
    return `This call needs a key with the scope '${this.scope}'`
  }
}
