/** Requests of callers, handed on to the role that answers them, and its answers handed back. */
import { Data, Duration, Effect, Option, Tracer } from "effect"
import type { Redacted } from "effect"
import { HttpMethod, HttpServerResponse } from "effect/http"
import type { HttpServerRequest } from "effect/http"
import type { IncomingHttpHeaders } from "node:http"
import { Readable } from "node:stream"
import { Caller } from "../../api/Authorization.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import type { WireAnswer } from "./Connections.ts"
import { authorizationOf, callerHeader, encodeCaller } from "./InternalHeaders.ts"
import { repeatabilityOf } from "./Upstream.ts"
import type { Upstream, UpstreamError } from "./Upstream.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

/**
 * Fields of one connection only (RFC 9110, section 7.6.1), those that are told anew for the next one, and those by which
 * callers show who they are: that is known here, and the next role is told.
 */
const ownFields = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "expect",
  "host",
  "grpc-timeout",
  "traceparent",
  "authorization",
  "x-api-key",
  callerHeader
])

/** Of an answer, the edge gives its own id. */
const ownAnswerFields = new Set([...ownFields, "x-request-id", "date"])

const isText = (value: unknown): value is string => typeof value === "string"

/** The fields to send on for a caller. */
export const fieldsFor = (
  secret: Redacted.Redacted
): (headers: Readonly<Record<string, unknown>>, caller: Principal) => Record<string, string> => {
  const authorization = authorizationOf(secret)
  return (headers, caller) => {
    const fields: Record<string, string> = {}
    for (const name in headers) {
      const value = headers[name]
      if (isText(value) && !ownFields.has(name)) fields[name] = value
    }
    fields["authorization"] = authorization
    fields[callerHeader] = encodeCaller(caller)
    return fields
  }
}

export const answerFields = (headers: IncomingHttpHeaders): Record<string, string> => {
  const fields: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined && !ownAnswerFields.has(name)) fields[name] = isText(value) ? value : value.join(", ")
  }
  return fields
}

/** An answer that is not simply good: it goes back the general way, as it is. */
export class OtherAnswer extends Data.TaggedError("OtherAnswer")<{ readonly response: Response }> {}

/** As it was given. */
export const asItIs = ({ status, headers, body }: WireAnswer<string>): Response =>
  HttpServerResponse.text(body, { status, headers: answerFields(headers), contentType: contentTypeOf(headers) })

/** Without those that the text's own length and type stand for. */
export const textFields = (headers: IncomingHttpHeaders): Record<string, string> => {
  const { "content-length": _length, "content-type": _type, ...fields } = answerFields(headers)
  return fields
}

export const contentTypeOf = (headers: IncomingHttpHeaders): string => headers["content-type"] ?? "application/json"

export const unavailable = (dependency: "registry" | "runtime", failure: UpstreamError): DependencyUnavailable => {
  const retryAfter = failure._tag === "CircuitOpen" ? failure.retryAfter : undefined
  return new DependencyUnavailable({
    dependency,
    retryAfterSeconds: Math.max(1, Math.ceil(Duration.toSeconds(retryAfter ?? Duration.seconds(1))))
  })
}

/** For what was asked for and got no answer: the last one where there is one, else when to try again. */
export const noAnswer = (
  dependency: "registry" | "runtime",
  failure: UpstreamError,
  last: Response | undefined
): Effect.Effect<never, OtherAnswer | DependencyUnavailable> =>
  Effect.fail(last === undefined ? unavailable(dependency, failure) : new OtherAnswer({ response: last }))

/** https://www.w3.org/TR/trace-context/#traceparent-header */
const traceparentOf = ({ traceId, spanId, sampled }: Tracer.AnySpan): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`

/** Adds the trace that the fiber works in, where there is one. */
export const traced = (fields: Record<string, string>): Effect.Effect<Readonly<Record<string, string>>> =>
  Effect.map(Effect.serviceOption(Tracer.ParentSpan), (trace) => {
    if (Option.isSome(trace)) fields["traceparent"] = traceparentOf(trace.value)
    return fields
  })

/** A body of at most this many bytes is read first: then it has a deadline, and may be sent again. */
const shortBody = 65_536

const bodyOf = (request: Request): Effect.Effect<string | Uint8Array | Readable | null> => {
  const { headers, method, source } = request
  if (!HttpMethod.hasBody(method) || !(source instanceof Readable)) return Effect.succeed(null)
  return Number(headers["content-length"]) <= shortBody
    ? Effect.map(Effect.orDie(request.arrayBuffer), (bytes) => new Uint8Array(bytes))
    : Effect.succeed(source)
}

/**
 * The answer's stream, which is given up with the caller's connection. One that ends before its time breaks that
 * connection: only so does the caller learn that something is missing.
 */
const streamed = (
  body: Readable,
  { status, headers }: { readonly status: number; readonly headers: IncomingHttpHeaders }
) => HttpServerResponse.raw(body, { status, headers: answerFields(headers) })

/** Hands requests on as they are, their bodies and their answers streaming through. */
export const forwarder = (upstream: Upstream, secret: Redacted.Redacted, usualPatience: Duration.Duration) => {
  const fields = fieldsFor(secret)
  /** `waits`: how long the answer is held on purpose. */
  return Effect.fnUntraced(
    function*(request: Request, waits: Duration.Duration = Duration.zero) {
      const answer = yield* upstream.open({
        method: request.method,
        path: request.url,
        headers: yield* traced(fields(request.headers, yield* Caller)),
        body: yield* bodyOf(request),
        patience: Duration.sum(waits, usualPatience),
        call: repeatabilityOf(request.method, request.headers["idempotency-key"])
      })
      return streamed(answer.body, answer)
    },
    Effect.catchTags({
      UpstreamFailed: (failure) => Effect.fail(unavailable(upstream.name, failure)),
      CircuitOpen: (failure) => Effect.fail(unavailable(upstream.name, failure)),
      BulkheadFull: (failure) => Effect.fail(unavailable(upstream.name, failure))
    })
  )
}

export type Forward = (
  request: Request,
  waits?: Duration.Duration
) => Effect.Effect<Response, DependencyUnavailable, Caller>
