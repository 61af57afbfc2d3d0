import { Context, Effect, Layer, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { Authorization, Caller, OpenInferenceAuthorization, RequiredScope } from "../../api/Authorization.ts"
import { ScopeMissing } from "../../domain/access/Principal.ts"
import { Authenticator } from "../../services/Authenticator.ts"

const bearer = /^bearer +(.+)$/i

/** The key of a request, from whichever header carries it; empty when there is none. */
const secretOf = ({ headers }: HttpServerRequest.HttpServerRequest): Redacted.Redacted =>
  Redacted.make(headers["x-api-key"] ?? bearer.exec(headers["authorization"] ?? "")?.[1] ?? "", { label: "API key" })

const make = Effect.map(Authenticator, (authenticator) => {
  /**
   * Both schemes come here and look at both headers: the builder tries one scheme after the other and keeps the last
   * refusal, which would turn a good bearer key without the scope (403) into a missing `X-API-Key` (401).
   */
  const authorize = Effect.fnUntraced(function*<E, R>(
    request: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
    { endpoint }: { readonly endpoint: HttpApiEndpoint.Top }
  ) {
    const principal = yield* authenticator.authenticate(secretOf(yield* HttpServerRequest.HttpServerRequest))
    const scope = Context.get(endpoint.annotations, RequiredScope)
    if (!principal.may(scope)) return yield* new ScopeMissing({ scope })
    return yield* Effect.provideService(request, Caller, principal)
  })
  return { bearer: authorize, apiKey: authorize }
})

export const layer = Layer.merge(
  Layer.effect(Authorization, make),
  Layer.effect(OpenInferenceAuthorization, make)
)
