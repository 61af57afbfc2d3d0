import { Clock, Context, Effect, Layer, Redacted } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { Authorization, Caller, OpenInferenceAuthorization, RequiredScope } from "../../api/Authorization.ts"
import type { Scope } from "../../domain/access/ApiKey.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import { ScopeMissing, Unauthenticated } from "../../domain/access/Principal.ts"
import type { RateLimited } from "../../domain/access/RateLimit.ts"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { originOf } from "./ClientAddress.ts"
import { KeyLookUp } from "./KeyLookUp.ts"

const bearer = /^bearer +(.+)$/i

export type RequestHeaders = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

/** The key of a request, from whichever header carries it; empty when there is none. */
const secretOf = (headers: RequestHeaders): Redacted.Redacted =>
  Redacted.make(String(headers["x-api-key"] ?? bearer.exec(String(headers["authorization"] ?? ""))?.[1] ?? ""), {
    label: "API key"
  })

/** What tells of a request who makes it. */
export interface Asking {
  readonly headers: RequestHeaders
  /** The connection. */
  readonly socket: object
}

/** Who makes a request, where that can be told without asking anybody. */
export class KnownCaller extends Context.Service<KnownCaller, {
  /** Undefined for one that is not known, or may not do what asks for the scope: the general way says why. */
  readonly of: (asking: Asking, scope: Scope) => Principal | undefined
}>()("maas/layers/http/Authorization/KnownCaller") {}

/** The headers that carried a connection's last key, and the key. */
interface LastSecret {
  readonly apiKey: RequestHeaders[string]
  readonly authorization: RequestHeaders[string]
  readonly secret: Redacted.Redacted
}

/** By keys that were lately found good. Most connections send one key again and again, so each keeps its last. */
const knownCaller = Layer.effect(
  KnownCaller,
  Effect.gen(function*() {
    const authenticator = yield* Authenticator
    const clock = yield* Clock.Clock
    const last = new WeakMap<object, LastSecret>()

    const secretFrom = ({ headers, socket }: Asking): Redacted.Redacted => {
      const { authorization, "x-api-key": apiKey } = headers
      const known = last.get(socket)
      if (known !== undefined && known.apiKey === apiKey && known.authorization === authorization) return known.secret
      const secret = secretOf(headers)
      last.set(socket, { apiKey, authorization, secret })
      return secret
    }

    return {
      of: (asking, scope) => {
        const principal = authenticator.recall(secretFrom(asking), clock.currentTimeMillisUnsafe())
        return principal?.may(scope) === true ? principal : undefined
      }
    }
  })
)

type Refusal = Unauthenticated | ScopeMissing | RateLimited | DependencyUnavailable

const make = Effect.gen(function*() {
  const authenticator = yield* Authenticator
  const keys = yield* KeyLookUp
  const refusals = new WeakMap<HttpServerRequest.HttpServerRequest, Refusal>()

  const refuse = (request: HttpServerRequest.HttpServerRequest, refusal: Refusal): Effect.Effect<never, Refusal> => {
    refusals.set(request, refusal)
    return Effect.fail(refusal)
  }

  /** Looks at both headers, so that it answers for either scheme. */
  const bearer = Effect.fnUntraced(function*<E, R>(
    answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
    { endpoint }: { readonly endpoint: HttpApiEndpoint.Top }
  ) {
    const request = yield* HttpServerRequest.HttpServerRequest
    const secret = secretOf(request.headers)
    const principal = authenticator.recall(secret, yield* Clock.currentTimeMillis) ??
      (yield* Effect.catch(
        keys.authenticate(originOf(request), secret),
        (refusal) => refuse(request, refusal)
      ))
    const scope = Context.get(endpoint.annotations, RequiredScope)
    if (!principal.may(scope)) return yield* refuse(request, new ScopeMissing({ scope }))
    return yield* Effect.provideService(answer, Caller, principal)
  })

  /**
   * The builder comes here once `bearer` has refused, and keeps the last refusal: it is the same one again, so that a
   * good bearer key without the scope is not passed off as a missing `X-API-Key`, and no wrong key is tried twice.
   */
  const apiKey = () =>
    Effect.flatMap(
      HttpServerRequest.HttpServerRequest,
      (request): Effect.Effect<never, Refusal> => Effect.fail(refusals.get(request) ?? new Unauthenticated())
    )

  return { bearer, apiKey }
})

/** By API key. */
export const layer = Layer.mergeAll(
  Layer.effect(Authorization, make),
  Layer.effect(OpenInferenceAuthorization, make)
).pipe(Layer.provide(KeyLookUp.layer), Layer.merge(knownCaller))
