import { Clock, Context, Effect, Exit, Layer, Option, Tracer } from "effect"
import { Headers, HttpTraceContext } from "effect/http"
import type { IncomingHttpHeaders } from "node:http"
import * as UntracedSpan from "./UntracedSpan.ts"

export interface Arrival {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders | Headers.Headers
}

export interface Answer {
  /** The route's pattern. */
  readonly route: string
  readonly status: number
}

/** What is asked every few seconds, for as long as the program runs: nobody would look at traces of these. */
const probes: ReadonlySet<string> = new Set(["/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"])

/**
 * The span of each request, in the trace that its `traceparent` names or a new one (W3C Trace Context). Also where nothing
 * is recorded, so that problems and logs have an id to find each other by. Attributes are those of OpenTelemetry's
 * semantic conventions for HTTP servers; queries are left out, as they may hold what is nobody's business.
 */
export class RequestTraces extends Context.Service<RequestTraces, {
  readonly begin: (arrival: Arrival) => Tracer.Span
  readonly answered: (span: Tracer.Span, answer: Answer) => void
  /** The caller has gone, or the program ends. */
  readonly abandoned: (span: Tracer.Span) => void
  /** Keeps the span of a request that goes another way now, and would begin anew there. */
  readonly keep: (request: object, span: Tracer.Span) => void
  readonly kept: (request: object) => Tracer.Span | undefined
}>()("maas/layers/telemetry/RequestTraces") {
  static readonly layer = Layer.effect(
    RequestTraces,
    Effect.gen(function*() {
      const tracer = yield* Tracer.Tracer
      const clock = yield* Clock.Clock
      const spans = new WeakMap<object, Tracer.Span>()

      return RequestTraces.of({
        begin: ({ headers, method, url }) => {
          const parent = parentOf(headers)
          const path = url.split("?", 1)[0] ?? ""
          const span = (Option.isNone(parent) && probes.has(path) ? UntracedSpan.tracer : tracer).span({
            name: method,
            parent,
            annotations: Context.empty(),
            links: [],
            startTime: clock.currentTimeNanosUnsafe(),
            kind: "server",
            root: Option.isNone(parent),
            sampled: Option.isNone(parent) || parent.value.sampled
          })
          if (span.sampled) {
            span.attribute("http.request.method", method)
            span.attribute("url.path", path)
            span.attribute("url.scheme", "http")
            const agent = headers["user-agent"]
            if (agent !== undefined) span.attribute("user_agent.original", agent)
          }
          return span
        },
        answered: (span, { route, status }) => {
          if (!span.sampled) return
          span.attribute("http.route", route)
          span.attribute("http.response.status_code", status)
          if (status >= 500) span.attribute("error.type", `${status}`)
          span.end(clock.currentTimeNanosUnsafe(), status >= 500 ? Exit.fail(`Status ${status}`) : Exit.void)
        },
        abandoned: (span) => span.end(clock.currentTimeNanosUnsafe(), Exit.interrupt()),
        keep: (request, span) => {
          spans.set(request, span)
        },
        kept: (request) => spans.get(request)
      })
    })
  )
}

const parentOf = (headers: Arrival["headers"]): Option.Option<Tracer.ExternalSpan> => {
  const traceparent = headers["traceparent"]
  return typeof traceparent === "string"
    ? HttpTraceContext.w3c(Headers.fromInput({ traceparent }))
    : Option.none()
}
