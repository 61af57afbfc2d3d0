/**
 * A short way for the calls that most requests are: small JSON to a model and its answer. The general way (router,
 * contract, middleware) costs several times what such a call does, which would bound the whole platform.
 *
 * The lane takes only requests that need none of the rest, and answers only what goes well. Everything else goes the
 * general way: a request that is unusual, before anything was done for it; one that failed, together with what came out,
 * so that errors are worded, logged and counted in one place and nothing is done twice.
 */
import { Clock, Context, Effect, Exit, Fiber, Layer, Tracer } from "effect"
import type { Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import type { HttpServerRequest } from "effect/http"
import { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import { Caller, RequiredScope } from "../../api/Authorization.ts"
import { CountedAs } from "../../api/RateLimits.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import * as HeaderFields from "../../resilience/ratelimit/HeaderFields.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import { KnownCaller } from "./Authorization.ts"
import * as CallDeadline from "./CallDeadline.ts"
import { requestIdOf } from "./Edge.ts"
import { RequestCounter } from "./RequestCounter.ts"

/** An endpoint that takes JSON and answers JSON, by a function from text to text. */
export interface LaneCall<Params, E> {
  readonly endpoint: HttpApiEndpoint.Top
  /** The parameters in a path; undefined for one that is another endpoint's, or odd. */
  readonly match: (path: string) => Params | undefined
  readonly answer: (params: Params, body: string, caller: Principal) => Effect.Effect<string, E>
}

/** Sends a request the general way. */
export type General = (request: IncomingMessage, response: ServerResponse) => void

export class ExpressLane extends Context.Service<ExpressLane, {
  /** Opens the lane for an endpoint; the answer is its handler, for what goes the general way. */
  readonly open: <Params, E>(
    call: LaneCall<Params, E>
  ) => (
    request: HttpServerRequest.HttpServerRequest,
    params: Params
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, Caller>
  /** Whether the lane took the request. What it takes ends with the scope at the latest. */
  readonly take: (request: IncomingMessage, response: ServerResponse, general: General, scope: Scope.Scope) => boolean
}>()("maas/layers/http/ExpressLane") {}

/** Bodies up to this many bytes; larger ones cost so much that the way there does not matter. */
const largestBody = 65_536

/** What only the general way understands. */
const unusual: ReadonlyArray<string> = ["idempotency-key", "prefer", "content-encoding"]

const json = /^application\/json(?:; ?charset=utf-8)?$/i

const isUsual = (headers: IncomingHttpHeaders): boolean =>
  json.test(headers["content-type"] ?? "") && Number(headers["content-length"]) <= largestBody &&
  unusual.every((name) => headers[name] === undefined)

const utf8 = new TextDecoder()

/** Reads the body, then goes on: a fiber that began before would have to wait, which costs more than the reading. */
const readBody = (request: IncomingMessage, then: (body: string) => void): void => {
  const chunks: Array<Buffer> = []
  request.on("data", (chunk: Buffer) => chunks.push(chunk))
  request.on("end", () => {
    const [first, ...others] = chunks
    then(first === undefined ? "" : utf8.decode(others.length === 0 ? first : Buffer.concat(chunks)))
  })
}

type Count = NonNullable<ReturnType<RequestCounter["Service"]["of"]>>

interface Answered {
  readonly text: string
  readonly fields: HeaderFields.Fields
}

/** The work of a request, once its body has been read. */
type Work = (body: string) => Effect.Effect<Answered, unknown>

interface Lane {
  /** Undefined for a request that is not this lane's. */
  readonly begin: (request: IncomingMessage) => Work | undefined
  readonly path: string
}

/** Fails what goes the general way. */
const elsewhere = Effect.fail("elsewhere" as const)
const noFields: HeaderFields.Fields = {}

const make = Effect.gen(function*() {
  const known = yield* KnownCaller
  const counter = yield* RequestCounter
  const metrics = yield* HttpMetrics
  const traces = yield* RequestTraces
  const random = yield* SecureRandom.SecureRandom
  const clock = yield* Clock.Clock
  const context = yield* Effect.context()
  const lanes: Array<Lane> = []

  const open = <Params, E>({ endpoint, match, answer }: LaneCall<Params, E>) => {
    const scope = Context.get(endpoint.annotations, RequiredScope)
    /** What came out for those that go the general way now, whose body is read already. */
    const failed = new WeakMap<object, Effect.Effect<string, E>>()
    const count = counter.of(Context.get(endpoint.annotations, CountedAs))

    const answered = (request: IncomingMessage, answer: Effect.Effect<string, E>, fields: HeaderFields.Fields) =>
      Effect.onExitPrimitive(Effect.map(answer, (text): Answered => ({ text, fields })), (exit) => {
        if (Exit.isFailure(exit)) failed.set(request, Effect.failCause(exit.cause))
        return undefined
      })

    /** The fields of the limit are told; what fails was counted, and is not counted again on its general way. */
    const limited = (
      count: Count,
      request: IncomingMessage,
      answer: Effect.Effect<string, E>,
      caller: Principal
    ): Effect.Effect<Answered, unknown> =>
      Effect.flatMap(
        count({ headers: request.headers, remote: request.socket.remoteAddress }, caller),
        (decision): Effect.Effect<Answered, unknown> => {
          if (decision === undefined) return answered(request, answer, noFields)
          if (decision._tag === "Allowed") {
            return Effect.onError(
              answered(request, answer, HeaderFields.ofQuotas(decision.quotas)),
              () => Effect.sync(() => counter.keep(request, decision))
            )
          }
          counter.keep(request, decision)
          return elsewhere
        }
      )

    const begin: Lane["begin"] = (request) => {
      const params = match(request.url ?? "")
      const caller = params === undefined ? undefined : known.of(request, scope)
      if (params === undefined || caller === undefined) return undefined
      return (body) => {
        const answering = Effect.suspend(() => answer(params, body, caller))
        if (count === undefined) return answered(request, answering, noFields)
        return Effect.onError(
          limited(count, request, answering, caller),
          () => Effect.sync(() => failed.has(request) || failed.set(request, answering))
        )
      }
    }
    lanes.push({ begin, path: endpoint.path })
    return (request: HttpServerRequest.HttpServerRequest, params: Params) =>
      Effect.map(
        failed.get(request.source) ??
          Effect.flatMap(Caller, (caller) =>
            Effect.flatMap(Effect.orDie(request.text), (body) => answer(params, body, caller))),
        (text) =>
          HttpServerResponse.text(text, { contentType: "application/json" })
      )
  }

  const take = (request: IncomingMessage, response: ServerResponse, general: General, scope: Scope.Scope): boolean => {
    if (request.method !== "POST" || !isUsual(request.headers)) return false
    for (const { begin, path } of lanes) {
      const work = begin(request)
      if (work !== undefined) {
        run(work, { path, url: request.url ?? "" }, request, response, general, scope)
        return true
      }
    }
    return false
  }

  const run = (
    work: Work,
    { path, url }: { readonly path: string; readonly url: string },
    request: IncomingMessage,
    response: ServerResponse,
    general: General,
    scope: Scope.Scope
  ): void => {
    const started = clock.monotonicTimeNanosUnsafe()
    metrics.requestStarted()
    const span = traces.begin({ method: "POST", url, headers: request.headers })
    const fork = Effect.runForkWith(Context.add(context, Tracer.ParentSpan, span))
    let fiber: Fiber.Fiber<unknown, unknown> | undefined
    response.on("close", () => {
      if (fiber === undefined) {
        metrics.requestEnded()
        traces.abandoned(span)
      } else if (!response.writableEnded) fiber.interruptUnsafe()
    })
    readBody(request, (body) => {
      const answered = Effect.flatMap(
        work(body),
        ({ text, fields }) =>
          Effect.map(requestIdOf(request.headers, random), (id) => {
            response.writeHead(200, {
              ...fields,
              "content-type": "application/json",
              "content-length": Buffer.byteLength(text),
              "x-request-id": id
            })
            response.end(text)
          })
      )
      fiber = Fiber.runIn(fork(CallDeadline.honourOnLane(answered, request)), scope)
      fiber.addObserver((exit) => {
        metrics.requestEnded()
        if (Exit.isSuccess(exit)) {
          metrics.observe("POST", path, 200, Number(clock.monotonicTimeNanosUnsafe() - started) / 1e9)
          traces.answered(span, { route: path, status: 200 })
        } else if (response.destroyed) {
          traces.abandoned(span)
        } else {
          traces.keep(request, span)
          general(request, response)
        }
      })
    })
  }

  return ExpressLane.of({ open, take })
})

export const layer = Layer.effect(ExpressLane, make)
