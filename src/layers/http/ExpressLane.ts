/**
 * A short way for what most requests are: small JSON to a model and its answer, and the reading of one thing. The general
 * way (router, contract, middleware) costs several times what such a request does, which would bound the whole platform.
 *
 * The lane takes only requests that need none of the rest, and answers only what goes well. Everything else goes the
 * general way: a request that is unusual, before anything was done for it; one that failed, together with what came out,
 * so that errors are worded, logged and counted in one place and nothing is done twice.
 */
import { Clock, Context, Effect, Exit, Fiber, Layer, Tracer } from "effect"
import type { Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import type { HttpServerRequest } from "effect/http"
import { HttpMethod, HttpServerResponse } from "effect/http"
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

/** A good answer: JSON, with status 200. */
export interface LaneAnswer {
  readonly text: string
  /** Header fields besides those of the text itself, in lower case. */
  readonly fields?: Readonly<Record<string, string>> | undefined
}

/** An endpoint that takes JSON, or no body where its method has none, and answers JSON. */
export interface LaneCall<Params, E> {
  readonly endpoint: HttpApiEndpoint.Top
  /** The parameters in a path; undefined for one that is another endpoint's, or odd. */
  readonly match: (path: string) => Params | undefined
  /** `body` is empty where there is none. */
  readonly answer: (params: Params, body: string, caller: Principal) => Effect.Effect<LaneAnswer, E>
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

/** Whether header fields ask for what only the general way understands. */
export const asksForMore = (headers: Readonly<Record<string, unknown>>): boolean =>
  unusual.some((name) => headers[name] !== undefined)

const json = /^application\/json(?:; ?charset=utf-8)?$/i

/** Without any of what only the general way understands, and with a short body of JSON where the method has one, or none. */
const isUsual = (headers: IncomingHttpHeaders, hasBody: boolean): boolean =>
  (hasBody
    ? json.test(headers["content-type"] ?? "") && Number(headers["content-length"]) <= largestBody
    : headers["content-length"] === undefined && headers["transfer-encoding"] === undefined) &&
  !asksForMore(headers)

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
  readonly answer: LaneAnswer
  /** Of the limit that the request counted against. */
  readonly limit: HeaderFields.Fields
}

/** The work of a request, once its body has been read. */
type Work = (body: string) => Effect.Effect<Answered, unknown>

interface Lane {
  /** Undefined for a request that is not this lane's. */
  readonly begin: (request: IncomingMessage) => Work | undefined
  readonly method: string
  readonly hasBody: boolean
  /** The route's pattern. */
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
    const failed = new WeakMap<object, Effect.Effect<LaneAnswer, E>>()
    const count = counter.of(Context.get(endpoint.annotations, CountedAs))

    const answered = (request: IncomingMessage, answer: Effect.Effect<LaneAnswer, E>, limit: HeaderFields.Fields) =>
      Effect.onExitPrimitive(Effect.map(answer, (answer): Answered => ({ answer, limit })), (exit) => {
        if (Exit.isFailure(exit)) failed.set(request, Effect.failCause(exit.cause))
        return undefined
      })

    /** The fields of the limit are told; what fails was counted, and is not counted again on its general way. */
    const limited = (
      count: Count,
      request: IncomingMessage,
      answer: Effect.Effect<LaneAnswer, E>,
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
    const hasBody = HttpMethod.hasBody(endpoint.method)
    lanes.push({ begin, method: endpoint.method, hasBody, path: endpoint.path })
    return (request: HttpServerRequest.HttpServerRequest, params: Params) =>
      Effect.map(
        failed.get(request.source) ??
          Effect.flatMap(Caller, (caller) =>
            hasBody
              ? Effect.flatMap(Effect.orDie(request.text), (body) => answer(params, body, caller))
              : answer(params, "", caller)),
        ({ text, fields }) => HttpServerResponse.text(text, { contentType: "application/json", headers: fields })
      )
  }

  const take = (request: IncomingMessage, response: ServerResponse, general: General, scope: Scope.Scope): boolean => {
    let usual: boolean | undefined
    for (const lane of lanes) {
      if (lane.method !== request.method) continue
      usual ??= isUsual(request.headers, lane.hasBody)
      if (!usual) return false
      const work = lane.begin(request)
      if (work !== undefined) {
        run(work, lane, request, response, general, scope)
        return true
      }
    }
    return false
  }

  const run = (
    work: Work,
    { hasBody, method, path }: Lane,
    request: IncomingMessage,
    response: ServerResponse,
    general: General,
    scope: Scope.Scope
  ): void => {
    const started = clock.monotonicTimeNanosUnsafe()
    metrics.requestStarted()
    const span = traces.begin({ method, url: request.url ?? "", headers: request.headers })
    const fork = Effect.runForkWith(Context.add(context, Tracer.ParentSpan, span))
    let fiber: Fiber.Fiber<unknown, unknown> | undefined
    response.on("close", () => {
      if (fiber === undefined) {
        metrics.requestEnded()
        traces.abandoned(span)
      } else if (!response.writableEnded) fiber.interruptUnsafe()
    })
    const answer = (body: string): void => {
      const answered = Effect.flatMap(
        work(body),
        ({ answer: { text, fields }, limit }) =>
          Effect.map(requestIdOf(request.headers, random), (id) => {
            response.writeHead(200, {
              ...fields,
              ...limit,
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
          metrics.observe(method, path, 200, Number(clock.monotonicTimeNanosUnsafe() - started) / 1e9)
          traces.answered(span, { route: path, status: 200 })
        } else if (response.destroyed) {
          traces.abandoned(span)
        } else {
          traces.keep(request, span)
          general(request, response)
        }
      })
    }
    if (hasBody) readBody(request, answer)
    else answer("")
  }

  return ExpressLane.of({ open, take })
})

export const layer = Layer.effect(ExpressLane, make)
