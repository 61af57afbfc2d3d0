import { Context, Effect, Layer, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { Authorization, Caller, OpenInferenceAuthorization, RequiredScope } from "../../api/Authorization.ts"
import type { Scope } from "../../domain/access/ApiKey.ts"
import type { Principal, Unauthenticated } from "../../domain/access/Principal.ts"
import { ScopeMissing } from "../../domain/access/Principal.ts"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { Authenticator } from "../../services/Authenticator.ts"

const bearer = /^bearer +(.+)$/i

type RequestHeaders = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

/** The key of a request, from whichever header carries it; empty when there is none. */
const secretOf = (headers: RequestHeaders): Redacted.Redacted =>
  Redacted.make(String(headers["x-api-key"] ?? bearer.exec(String(headers["authorization"] ?? ""))?.[1] ?? ""), {
    label: "API key"
  })

/** Who makes a request, if that one may do what asks for the scope. */
export const authorizer = Effect.map(
  Authenticator,
  (authenticator) =>
  (
    headers: RequestHeaders,
    scope: Scope
  ): Effect.Effect<Principal, Unauthenticated | ScopeMissing | DependencyUnavailable> =>
    Effect.flatMap(
      authenticator.authenticate(secretOf(headers)),
      (principal) => principal.may(scope) ? Effect.succeed(principal) : Effect.fail(new ScopeMissing({ scope }))
    )
)

const make = Effect.map(authorizer, (authorizedBy) => {
  /**
   * Both schemes come here and look at both headers: the builder tries one scheme after the other and keeps the last
   * refusal, which would turn a good bearer key without the scope (403) into a missing `X-API-Key` (401).
   */
  const authorize = Effect.fnUntraced(function*<E, R>(
    request: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
    { endpoint }: { readonly endpoint: HttpApiEndpoint.Top }
  ) {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const principal = yield* authorizedBy(headers, Context.get(endpoint.annotations, RequiredScope))
    return yield* Effect.provideService(request, Caller, principal)
  })
  return { bearer: authorize, apiKey: authorize }
})

export const layer = Layer.merge(
  Layer.effect(Authorization, make),
  Layer.effect(OpenInferenceAuthorization, make)
)
