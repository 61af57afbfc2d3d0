/** The roles that a gateway stands before, as it speaks to them for its callers. */
import { Clock, Context, Data, DateTime, Duration, Effect, Layer } from "effect"
import type { Redacted } from "effect"
import { HttpServerResponse } from "effect/http"
import type { HttpServerRequest } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { hash } from "node:crypto"
import { Caller } from "../../api/Authorization.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import * as DirectoryEntry from "../../resilience/policy/DirectoryEntry.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import { ExpressLane } from "../http/ExpressLane.ts"
import { needed, Settings } from "../settings/Settings.ts"
import * as Forwarding from "./Forwarding.ts"
import { StaleAnswers } from "./StaleAnswers.ts"
import * as Upstream from "./Upstream.ts"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest
type Forward = (
  request: Request,
  patience?: Duration.Duration
) => Effect.Effect<Response, DependencyUnavailable, Caller>

/** Requests under way at once to one upstream. */
const limit = 512
const openFor = Duration.seconds(30)

const connect = Effect.fnUntraced(function*(name: "registry" | "runtime", url: URL) {
  const upstream = yield* Effect.orDie(Upstream.make({ name, url, limit, openFor }))
  const directory = yield* PolicyDirectory
  yield* Effect.orDie(directory.register(DirectoryEntry.circuit(upstream.circuit)))
  yield* Effect.orDie(directory.register(DirectoryEntry.bulkhead(upstream.bulkhead)))
  return upstream
})

/** `Cache-Status` of RFC 9211, `Age` of RFC 9111. */
const staleFields = (ageSeconds: number): Readonly<Record<string, string>> => ({
  "cache-status": "maas; hit; detail=stale",
  age: String(ageSeconds)
})

const ageOf = (now: number, at: number): number => Math.max(0, Math.floor((now - at) / 1_000))

/** @effect-expect-leaking Caller */
export class RegistryUpstream extends Context.Service<RegistryUpstream, {
  readonly forward: Forward
  /** As `forward`, for what only reads: while the registry is away, its last answer, labelled as such. */
  readonly read: Forward
}>()("maas/layers/internal/Upstreams/RegistryUpstream") {
  static readonly layer = Layer.effect(
    RegistryUpstream,
    Effect.gen(function*() {
      const upstream = yield* connect("registry", yield* needed("registryUrl"))
      const secret = yield* needed("internalSecret")
      const clock = yield* Clock.Clock
      const kept = new StaleAnswers(clock)
      const fields = Forwarding.fieldsFor(secret)
      const read: Forward = Effect.fnUntraced(function*(request) {
        const caller = yield* Caller
        const asked = upstream.ask({
          method: request.method,
          path: request.url,
          headers: fields(request.headers, caller),
          body: null,
          patience: Forwarding.usualPatience
        })
        const answer = yield* Effect.result(asked)
        if (answer._tag === "Success") {
          const { status, headers, body } = answer.success
          const contentType = headers["content-type"] ?? "application/json"
          if (status === 200) kept.keep(request.url, body, contentType)
          return HttpServerResponse.text(body, { status, headers: Forwarding.answerFields(headers), contentType })
        }
        const last = kept.find(request.url)
        if (last === undefined) return yield* Forwarding.unavailable("registry", answer.failure)
        return HttpServerResponse.text(last.text, {
          contentType: last.contentType,
          headers: staleFields(ageOf(clock.currentTimeMillisUnsafe(), last.at))
        })
      })
      return { forward: Forwarding.forwarder(upstream, "registry", secret), read }
    })
  )
}

/** An answer that is not simply good: it goes back the general way, as it is. */
class OtherAnswer extends Data.TaggedError("OtherAnswer")<{ readonly response: Response }> {}

/** @effect-expect-leaking Caller */
export class RuntimeUpstream extends Context.Service<RuntimeUpstream, {
  readonly forward: Forward
  /** Opens the express lane for an endpoint that lets a model answer, and answers with its handler. */
  readonly calls: (
    endpoint: HttpApiEndpoint.Top,
    isPath: (path: string) => boolean
  ) => (request: Request) => Effect.Effect<Response, DependencyUnavailable, Caller>
}>()("maas/layers/internal/Upstreams/RuntimeUpstream") {
  static readonly layer = Layer.effect(
    RuntimeUpstream,
    Effect.gen(function*() {
      const upstream = yield* connect("runtime", yield* needed("runtimeUrl"))
      const secret = yield* needed("internalSecret")
      const { inferenceTimeout } = yield* Settings
      const lane = yield* ExpressLane
      const clock = yield* Clock.Clock
      const kept = new StaleAnswers(clock)
      const ask = asker(upstream, secret, kept, clock, Duration.sum(inferenceTimeout, inferenceTimeout))
      return {
        forward: Forwarding.forwarder(upstream, "runtime", secret),
        calls: (endpoint, isPath) => {
          const handle = lane.open({ endpoint, match: (path) => isPath(path) ? path : undefined, answer: ask })
          return (request) =>
            Effect.catchTag(handle(request, request.url), "OtherAnswer", ({ response }) => Effect.succeed(response))
        }
      }
    })
  )
}

const asker = (
  upstream: Upstream.Upstream,
  secret: Redacted.Redacted,
  kept: StaleAnswers,
  clock: Clock.Clock,
  patience: Duration.Duration
) => {
  const fields = Forwarding.fieldsFor(secret)
  const json = { "content-type": "application/json" }
  return (
    path: string,
    body: string,
    caller: Principal
  ): Effect.Effect<string, OtherAnswer | DependencyUnavailable> => {
    const key = `${path} ${hash("sha1", body, "base64url")}`
    return Effect.matchEffect(
      upstream.ask({ method: "POST", path, headers: fields(json, caller), body, patience }),
      {
        onSuccess: ({ status, headers, body }) => {
          if (status !== 200) {
            return Effect.fail(
              new OtherAnswer({
                response: HttpServerResponse.text(body, {
                  status,
                  headers: Forwarding.answerFields(headers),
                  contentType: headers["content-type"] ?? "application/json"
                })
              })
            )
          }
          kept.keep(key, body, "application/json")
          return Effect.succeed(body)
        },
        onFailure: (failure): Effect.Effect<string, OtherAnswer | DependencyUnavailable> => {
          const last = kept.find(key)
          if (last === undefined) return Effect.fail(Forwarding.unavailable("runtime", failure))
          return Effect.fail(
            new OtherAnswer({
              response: HttpServerResponse.text(labelled(path, last.text, last.at), {
                contentType: last.contentType,
                headers: staleFields(ageOf(clock.currentTimeMillisUnsafe(), last.at))
              })
            })
          )
        }
      }
    )
  }
}

/** The answer's JSON object, told to be old: with members of its own, or as parameters of the Open Inference Protocol. */
const labelled = (path: string, text: string, at: number): string => {
  const label = `"stale":true,"asOf":${JSON.stringify(DateTime.formatIso(DateTime.makeUnsafe(at)))}`
  return `${text.slice(0, -1)},${path.startsWith("/v2/") ? `"parameters":{${label}}` : label}}`
}
