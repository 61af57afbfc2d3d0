import type { Redacted } from "effect"
import { Context, Effect, Layer } from "effect"
import type { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { Authorization, Caller, OpenInferenceAuthorization, RequiredScope } from "../../api/Authorization.ts"
import { ScopeMissing } from "../../domain/access/Principal.ts"
import { Authenticator } from "../../services/Authenticator.ts"

const make = Effect.map(Authenticator, (authenticator) => {
  const authorize = <E, R>(
    request: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | Caller>,
    { credential, endpoint }: { readonly credential: Redacted.Redacted; readonly endpoint: HttpApiEndpoint.Top }
  ) =>
    Effect.flatMap(authenticator.authenticate(credential), (principal) => {
      const scope = Context.get(endpoint.annotations, RequiredScope)
      return principal.may(scope)
        ? Effect.provideService(request, Caller, principal)
        : new ScopeMissing({ scope })
    })
  return { bearer: authorize, apiKey: authorize }
})

export const layer = Layer.merge(
  Layer.effect(Authorization, make),
  Layer.effect(OpenInferenceAuthorization, make)
)
