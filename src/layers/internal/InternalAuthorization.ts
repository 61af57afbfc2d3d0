/** Behind a gateway: it has looked at the caller's key, and tells whom it calls for. */
import { Context, Effect, Layer, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { Authorization, Caller, OpenInferenceAuthorization, RequiredScope } from "../../api/Authorization.ts"
import { InternalAuthorization, NotOneOfUs } from "../../api/internal/InternalAuthorization.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import { ScopeMissing, Unauthenticated } from "../../domain/access/Principal.ts"
import type { RequestHeaders } from "../http/Authorization.ts"
import { KnownCaller } from "../http/Authorization.ts"
import { needed } from "../settings/Settings.ts"
import { callerHeader, decodeCaller, secretCheck } from "./InternalHeaders.ts"

const make = Effect.map(needed("internalSecret"), (secret) => {
  const isOurs = secretCheck(secret)
  const callerOf = (headers: RequestHeaders): Principal | undefined => {
    const field = headers[callerHeader]
    return typeof field === "string" && isOurs(String(headers["authorization"])) ? decodeCaller(field) : undefined
  }

  const bearer = Effect.fnUntraced(function*<E, R>(
    answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
    { endpoint }: { readonly endpoint: HttpApiEndpoint.Top }
  ) {
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    const caller = callerOf(headers)
    if (caller === undefined) return yield* new Unauthenticated()
    const scope = Context.get(endpoint.annotations, RequiredScope)
    if (!caller.may(scope)) return yield* new ScopeMissing({ scope })
    return yield* Effect.provideService(answer, Caller, caller)
  })
  // The builder keeps the last refusal, so both schemes come to the same
  const schemes = { bearer, apiKey: bearer }

  return Context.make(Authorization, Authorization.of(schemes)).pipe(
    Context.add(OpenInferenceAuthorization, OpenInferenceAuthorization.of(schemes)),
    Context.add(KnownCaller, {
      of: ({ headers }, scope) => {
        const caller = callerOf(headers)
        return caller?.may(scope) === true ? caller : undefined
      }
    }),
    Context.add(
      InternalAuthorization,
      InternalAuthorization.of({
        secret: (answer, { credential }) =>
          isOurs(`Bearer ${Redacted.value(credential)}`) ? answer : Effect.fail(new NotOneOfUs())
      })
    )
  )
})

export const layer = Layer.effectContext(make)
