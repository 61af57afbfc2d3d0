import { Context } from "effect"
import { HttpApiMiddleware } from "effect/http-api"
import type { LimitName } from "../domain/access/RateLimit.ts"
import { RateLimited } from "../domain/access/RateLimit.ts"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { Caller } from "./Authorization.ts"
import { openInferenceError } from "./OpenInferenceError.ts"
import { dependencyUnavailable, rateLimited } from "./Problems.ts"

/** The limit that calls of an endpoint count against, as an annotation of the endpoint. */
export const CountedAs = Context.Reference<LimitName>("maas/api/RateLimits/CountedAs", { defaultValue: () => "other" })

/**
 * Lets through who has something left of the endpoint's limit, and tells every caller how much that is.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class RateLimits extends HttpApiMiddleware.Service<RateLimits, { requires: Caller }>()("maas/api/RateLimits", {
  error: [rateLimited, dependencyUnavailable]
}) {}

/**
 * As `RateLimits`, in the words of the Open Inference Protocol.
 *
 * @effect-expect-leaking HttpServerRequest | ParsedSearchParams | RouteContext
 */
export class OpenInferenceRateLimits extends HttpApiMiddleware.Service<OpenInferenceRateLimits, { requires: Caller }>()(
  "maas/api/RateLimits/OpenInferenceRateLimits",
  { error: [openInferenceError(RateLimited, 429), openInferenceError(DependencyUnavailable, 503)] }
) {}
