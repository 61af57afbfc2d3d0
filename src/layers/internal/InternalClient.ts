/** The typed clients of the internal API, on the same connections, circuit and places as what is handed on. */
import { Effect, Schema } from "effect"
import type { Duration, Redacted } from "effect"
import { HttpClient, HttpClientError, HttpClientResponse } from "effect/http"
import type { HttpClientRequest } from "effect/http"
import { NotOneOfUs } from "../../api/internal/InternalAuthorization.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import * as Retry from "../../resilience/Retry.ts"
import { unavailable } from "./Forwarding.ts"
import { authorizationOf } from "./InternalHeaders.ts"
import type { Upstream, UpstreamError } from "./Upstream.ts"

const isUpstreamError = (cause: unknown): cause is UpstreamError =>
  typeof cause === "object" && cause !== null && "_tag" in cause &&
  (cause._tag === "UpstreamFailed" || cause._tag === "CircuitOpen" || cause._tag === "BulkheadFull")

type Unusable = HttpClientError.HttpClientError | Schema.SchemaError | NotOneOfUs

/**
 * Nobody answered; or the answer is none of the endpoint's, and comes from somebody who is not well, of another version,
 * or not ours.
 */
export const isUnusable = (error: unknown): error is Unusable =>
  HttpClientError.isHttpClientError(error) || Schema.isSchemaError(error) || error instanceof NotOneOfUs

const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest): Uint8Array | null =>
  body._tag === "Uint8Array" ? body.body : null

/** What the internal API asks changes nothing, or nothing the second time: it may be sent again. */
export const make = (
  upstream: Upstream,
  secret: Redacted.Redacted,
  patience: Duration.Duration
): HttpClient.HttpClient => {
  const authorization = authorizationOf(secret)
  return HttpClient.make((request, url) =>
    upstream.ask({
      method: request.method,
      path: `${url.pathname}${url.search}`,
      headers: { ...request.headers, authorization },
      body: bodyOf(request),
      patience,
      call: Retry.safe
    }).pipe(
      Effect.map(({ status, headers, body }) =>
        HttpClientResponse.fromWeb(
          request,
          new Response(status === 204 ? null : body, {
            status,
            headers: { "content-type": headers["content-type"] ?? "application/json" }
          })
        )
      ),
      Effect.mapError((cause) =>
        new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request, cause }) })
      )
    )
  )
}

/** To `Effect.catchIf(isUnusable, …)`. */
export const toUnavailable =
  (dependency: "registry" | "runtime") => (error: Unusable): Effect.Effect<never, DependencyUnavailable> => {
    const cause = error._tag === "HttpClientError" ? error.reason.cause : undefined
    if (isUpstreamError(cause)) return Effect.fail(unavailable(dependency, cause))
    return Effect.andThen(
      Effect.logError(`The ${dependency} gave no answer that can be used`, error.message),
      new DependencyUnavailable({ dependency, retryAfterSeconds: usualOutageSeconds })
    )
  }
