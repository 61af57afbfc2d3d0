/** Requests of callers, handed on to the role that answers them, and its answers handed back. */
import { Duration, Effect, Option, Tracer } from "effect"
import type { Redacted } from "effect"
import { HttpMethod, HttpServerResponse } from "effect/http"
import type { HttpServerRequest } from "effect/http"
import type { IncomingHttpHeaders } from "node:http"
import { Readable } from "node:stream"
import { Caller } from "../../api/Authorization.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { authorizationOf, callerHeader, encodeCaller } from "./InternalHeaders.ts"
import type { Upstream, UpstreamFailed, UpstreamRejection } from "./Upstream.ts"

/**
 * Fields of one connection only (RFC 9110, section 7.6.1), and those by which callers show who they are: that is known
 * here, and the next role is told.
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
  for (const [name, value] of Object.entries(headers)) {
    if (!ownAnswerFields.has(name) && value !== undefined) fields[name] = isText(value) ? value : value.join(", ")
  }
  return fields
}

export const unavailable = (
  dependency: "registry" | "runtime",
  failure: UpstreamFailed | UpstreamRejection
): DependencyUnavailable => {
  const retryAfter = failure._tag === "CircuitOpen" ? failure.retryAfter : undefined
  return new DependencyUnavailable({
    dependency,
    retryAfterSeconds: Math.max(1, Math.ceil(Duration.toSeconds(retryAfter ?? Duration.seconds(1))))
  })
}

/** https://www.w3.org/TR/trace-context/#traceparent-header */
const traceparentOf = ({ traceId, spanId, sampled }: Tracer.AnySpan): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`

/** How long an answer may take to begin where a request asks for no more. */
export const usualPatience = Duration.seconds(15)

/** Hands a request on as it is, its body and its answer streaming through. */
export const forwarder = (upstream: Upstream, dependency: "registry" | "runtime", secret: Redacted.Redacted) => {
  const fields = fieldsFor(secret)
  return Effect.fnUntraced(function*(
    request: HttpServerRequest.HttpServerRequest,
    patience: Duration.Duration = usualPatience
  ) {
    const caller = yield* Caller
    const trace = yield* Effect.serviceOption(Tracer.ParentSpan)
    const { source } = request
    const { status, headers, body } = yield* upstream.open({
      method: request.method,
      path: request.url,
      headers: {
        ...fields(request.headers, caller),
        ...(Option.isSome(trace) ? { traceparent: traceparentOf(trace.value) } : {})
      },
      body: source instanceof Readable && HttpMethod.hasBody(request.method) ? source : null,
      patience
    }).pipe(Effect.mapError((failure) => unavailable(dependency, failure)))
    return HttpServerResponse.raw(body, { status, headers: answerFields(headers) })
  })
}
