/** The limits of requests: each counts against the one that its endpoint is annotated with, and is told what is left. */
import { Context, Effect, Layer } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { CountedAs, OpenInferenceRateLimits, RateLimits } from "../../api/RateLimits.ts"
import { RateLimited } from "../../domain/access/RateLimit.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import * as HeaderFields from "../../resilience/ratelimit/HeaderFields.ts"
import { errorOf } from "../../resilience/ratelimit/Limiter.ts"
import type { Denied } from "../../resilience/ratelimit/Limiter.ts"
import { originOf } from "./ClientAddress.ts"
import { RequestCounter } from "./RequestCounter.ts"

type RequestContext = Context.Context<Caller | HttpServerRequest.HttpServerRequest>

/** Sets the fields on whatever the answer will be: that of the handler, or the problem that it fails with. */
const tell = (context: RequestContext, fields: HeaderFields.Fields): void =>
  HttpEffect.appendPreResponseHandlerUnsafe(
    context,
    (_, response) => Effect.succeed(HttpServerResponse.setHeaders(response, fields))
  )

/** A limit that can't be counted, and may not be exceeded, is no fault of the caller. */
const refusalOf = (denied: Denied): Effect.Effect<never, RateLimited | DependencyUnavailable> => {
  const retryAfterSeconds = Number(HeaderFields.retryAfter(errorOf(denied)))
  return denied.reason === "StoreLost"
    ? Effect.fail(new DependencyUnavailable({ dependency: "redis", retryAfterSeconds }))
    : Effect.fail(new RateLimited({ policy: denied.policy, retryAfterSeconds }))
}

const make = Effect.map(
  RequestCounter,
  (counter) =>
  /** Called once for each endpoint, not for each request: one without a limit costs its requests nothing. */
  <E, R>(
    answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
    { endpoint }: { readonly endpoint: HttpApiEndpoint.Top }
  ): Effect.Effect<
    HttpServerResponse.HttpServerResponse,
    E | RateLimited | DependencyUnavailable,
    R | Caller | HttpServerRequest.HttpServerRequest
  > => {
    const count = counter.of(Context.get(endpoint.annotations, CountedAs))
    if (count === undefined) return answer
    return Effect.contextWith((context: RequestContext) => {
      const request = Context.get(context, HttpServerRequest.HttpServerRequest)
      const kept = counter.kept(request.source)
      const decided = kept === undefined ? count(originOf(request), Context.get(context, Caller)) : Effect.succeed(kept)
      return Effect.flatMap(decided, (decision): Effect.Effect<
        HttpServerResponse.HttpServerResponse,
        E | RateLimited | DependencyUnavailable,
        R
      > => {
        if (decision === undefined) return answer
        if (decision._tag === "Allowed") {
          tell(context, HeaderFields.ofQuotas(decision.quotas))
          return answer
        }
        tell(context, HeaderFields.ofRefusal(errorOf(decision)))
        return refusalOf(decision)
      })
    })
  }
)

export const layer = Layer.merge(
  Layer.effect(RateLimits, make),
  Layer.effect(OpenInferenceRateLimits, make)
)
