import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

export const PolicyName = Schema.String.check(Schema.isBetweenLength(1, 64))

export const LimitView = Schema.Struct({
  name: PolicyName,
  /** As settings write it. */
  policy: Schema.String,
  algorithm: Schema.String,
  limit: Schema.Int,
  windowSeconds: Schema.Finite,
  /** The most that can be taken at once. */
  quota: Schema.Int,
  /** What it is counted by: address, key or everyone. */
  per: Schema.String
}).annotate({ identifier: "Limit" })

export const LimitStateView = Schema.Struct({
  limit: PolicyName,
  /** Whom it is counted for: an address or network, a key's id, or everyone. */
  key: Schema.String,
  quota: Schema.Int,
  remaining: Schema.Int,
  /** Until all of the quota is back. */
  resetSeconds: Schema.Int
}).annotate({ identifier: "LimitState" })

const limitPath = { limit: PolicyName }
const keyPath = { ...limitPath, key: Schema.String.check(Schema.isBetweenLength(1, 200)) }

const list = HttpApiEndpoint.get("list", "/", { query: page(PolicyName), success: pageOf(LimitView) })
  .annotate(RequiredScope, "admin")

const get = HttpApiEndpoint.get("get", "/:limit", {
  params: limitPath,
  success: LimitView,
  error: Problems.limitNotFound
}).annotate(RequiredScope, "admin")

const inspect = HttpApiEndpoint.get("inspect", "/:limit/keys/:key", {
  params: keyPath,
  success: LimitStateView,
  error: Problems.limitNotFound
}).annotate(RequiredScope, "admin").annotate(
  OpenApi.Description,
  "What is left of the limit for one caller: an address (in any form), a key's id, or everyone. Takes nothing."
)

const forget = HttpApiEndpoint.delete("forget", "/:limit/keys/:key", {
  params: keyPath,
  success: HttpApiSchema.NoContent,
  error: Problems.limitNotFound
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Forgets what one caller took of the limit."
)

export class LimitsApi extends HttpApiGroup.make("limits")
  .add(list, get, inspect, forget)
  .prefix("/api/v1/admin/limits")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
