import { Context } from "effect"
import { HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import type { Scope } from "../domain/access/ApiKey.ts"
import type { Principal } from "../domain/access/Principal.ts"
import { ScopeMissing, Unauthenticated } from "../domain/access/Principal.ts"
import { RateLimited } from "../domain/access/RateLimit.ts"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { openInferenceError } from "./OpenInferenceError.ts"
import {
  dependencyUnavailable,
  InvalidRequest,
  invalidRequest,
  rateLimited,
  scopeMissing,
  unauthenticated
} from "./Problems.ts"

/** Who makes the request. */
export class Caller extends Context.Service<Caller, Principal>()("maas/api/Authorization/Caller") {}

/** The scope that an endpoint asks of its caller, as an annotation of the endpoint. */
export const RequiredScope = Context.Reference<Scope>("maas/api/Authorization/RequiredScope", {
  defaultValue: () => "admin"
})

const security = {
  bearer: HttpApiSecurity.bearer,
  apiKey: HttpApiSecurity.apiKey({ key: "X-API-Key", in: "header" })
}

/**
 * Lets through who has a key with the endpoint's scope. Who tries many wrong keys is limited.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: Caller }>()(
  "maas/api/Authorization",
  {
    security,
    error: [unauthenticated, scopeMissing, rateLimited, dependencyUnavailable]
  }
) {}

/**
 * As `Authorization`, in the words of the Open Inference Protocol.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class OpenInferenceAuthorization
  extends HttpApiMiddleware.Service<OpenInferenceAuthorization, { provides: Caller }>()(
    "maas/api/Authorization/OpenInferenceAuthorization",
    {
      security,
      error: [
        openInferenceError(Unauthenticated, 401),
        openInferenceError(ScopeMissing, 403),
        openInferenceError(RateLimited, 429),
        openInferenceError(DependencyUnavailable, 503)
      ]
    }
  )
{}

/**
 * Says of a request that does not fit the endpoint's schemas where it does not.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class RequestCheck extends HttpApiMiddleware.Service<RequestCheck>()("maas/api/Authorization/RequestCheck", {
  error: [invalidRequest]
}) {}

/**
 * As `RequestCheck`, in the words of the Open Inference Protocol.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class OpenInferenceRequestCheck extends HttpApiMiddleware.Service<OpenInferenceRequestCheck>()(
  "maas/api/Authorization/OpenInferenceRequestCheck",
  { error: [openInferenceError(InvalidRequest, 400)] }
) {}
