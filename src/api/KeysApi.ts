import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { ApiKey, ApiKeyId, ApiKeyName, Scope } from "../domain/access/ApiKey.ts"
import { PlanName } from "../domain/access/RateLimit.ts"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

const keyPath = { id: ApiKeyId }

/** `key` is the secret; it is shown here and never again. */
export const NewApiKey = Schema.Struct({
  id: ApiKeyId,
  name: ApiKeyName,
  scopes: Schema.Array(Scope),
  plan: Schema.optionalKey(PlanName),
  key: Schema.String,
  expiresAt: Schema.NullOr(Schema.DateTimeUtcFromString)
}).annotate({ identifier: "NewApiKey" })

const create = HttpApiEndpoint.post("create", "/", {
  headers: idempotencyHeader,
  payload: Schema.Struct({
    name: ApiKeyName,
    scopes: Schema.Array(Scope).check(Schema.isMinLength(1), Schema.isUnique()),
    /** One that the settings name (`MAAS_LIMIT_PLANS`). */
    plan: Schema.optionalKey(PlanName),
    /** In seconds; a key without it does not expire. */
    expiresIn: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 315_360_000 })))
  }),
  success: NewApiKey.pipe(HttpApiSchema.status(201)),
  error: [...Problems.idempotency]
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes")

const list = HttpApiEndpoint.get("list", "/", { query: page(ApiKeyId), success: pageOf(ApiKey) })
  .annotate(RequiredScope, "admin")

const get = HttpApiEndpoint.get("get", "/:id", { params: keyPath, success: ApiKey, error: Problems.apiKeyNotFound })
  .annotate(RequiredScope, "admin")

const revoke = HttpApiEndpoint.delete("revoke", "/:id", {
  params: keyPath,
  success: HttpApiSchema.NoContent,
  error: Problems.apiKeyNotFound
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes")

export class KeysApi extends HttpApiGroup.make("keys")
  .add(create, list, get, revoke)
  .prefix("/api/v1/admin/keys")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
