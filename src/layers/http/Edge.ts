import { Cause, Clock, Context, Effect, Option, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpRouter, HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { ProblemFacts } from "../../api/Problem.ts"
import { toResponse } from "../../api/Problem.ts"
import { retryAfter } from "../../api/ResponseHeaders.ts"
import { usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { DeadlineExceeded } from "../../resilience/Deadline.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import { methodsAt } from "./Methods.ts"

const isRequestId = Schema.is(Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,128}$/)))

/** The request's own id where it has a usable one, else a new one. */
export const requestIdOf = (
  headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>,
  random: SecureRandom.SecureRandom["Service"]
): Effect.Effect<string> => {
  const given = headers["x-request-id"]
  return typeof given === "string" && isRequestId(given) ? Effect.succeed(given) : random.uuidV4()
}

/** What to say where no endpoint has said it: the builder and the router answer with a bare status. */
const facts: Readonly<Record<number, Omit<ProblemFacts, "status">>> = {
  400: { code: "bad_request", title: "Bad request", detail: "The request can't be read" },
  404: { code: "not_found", title: "Not found", detail: "There is nothing at this path: see /docs for what there is" },
  405: { code: "method_not_allowed", title: "Method not allowed", detail: "This path does not take this method" },
  413: { code: "body_too_large", title: "Body too large", detail: "The body is larger than this path takes" },
  415: {
    code: "unsupported_media_type",
    title: "Unsupported media type",
    detail: "This path does not take a body of this Content-Type: see /docs for what it takes"
  },
  500: {
    code: "internal",
    title: "Internal error",
    detail: "Something went wrong here that is not your fault; the trace id helps to find it"
  },
  504: {
    code: "deadline_exceeded",
    title: "Too late",
    detail: "There was no answer within the time that the request gave (grpc-timeout)"
  },
  503: { code: "unavailable", title: "Temporarily unavailable", detail: "The server is shutting down: try again" }
}

const problemOf = (status: number, path: string) => {
  const known = facts[status] ?? { code: `status_${status}`, title: `Status ${status}`, detail: `Status ${status}` }
  return path.startsWith("/v2/") || path === "/v2"
    ? Effect.succeed(HttpServerResponse.jsonUnsafe({ error: known.detail }, { status }))
    : toResponse({ status, ...known })
}

/** Everything that tells what is wrong is JSON. */
const isBare = ({ status, headers }: HttpServerResponse.HttpServerResponse): boolean =>
  status >= 400 && !(headers["content-type"] ?? "").includes("json")

const isDeadlineExceeded = Schema.is(DeadlineExceeded)

/** An overlong body reaches handlers as a defect of the server's own kind. */
const statusOf = (cause: Cause.Cause<unknown>): number => {
  for (const reason of cause.reasons) {
    const error = reason._tag === "Fail" ? reason.error : reason._tag === "Die" ? reason.defect : undefined
    if (isDeadlineExceeded(error)) return 504
    if (HttpServerError.isHttpServerError(error)) {
      if (error.reason._tag === "RouteNotFound") return 404
      if (error.reason._tag === "RequestParseError") {
        return /too large|max(imum)? ?(body|bytes)|exceed/i.test(String(error.reason.cause)) ? 413 : 400
      }
    }
  }
  return Cause.hasInterruptsOnly(cause) ? 503 : 500
}

/**
 * What surrounds every request: its id, its span, its figures, and a problem for everything that went wrong without one.
 */
export const make = Effect.map(
  Effect.all([HttpMetrics, RequestTraces, SecureRandom.SecureRandom]),
  ([metrics, traces, random]) => <E, R>(app: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>) =>
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const path = request.url.split("?", 1)[0] ?? ""
      const requestId = yield* requestIdOf(request.headers, random)
      const span = traces.kept(request.source) ?? traces.begin(request)
      const started = yield* Clock.currentTimeNanos
      metrics.requestStarted()

      const answered = yield* app.pipe(
        Effect.catchCause((cause) => {
          const failure = statusOf(cause)
          const allowed = failure === 404 ? methodsAt(path) : []
          const status = allowed.length > 0 ? 405 : failure
          return Effect.andThen(
            status >= 500 && status !== 504 && !Cause.hasInterruptsOnly(cause)
              ? Effect.logError("A request failed", cause)
              : Effect.void,
            Effect.map(
              problemOf(status, path),
              HttpServerResponse.setHeaders({
                ...(allowed.length > 0 ? { allow: allowed.join(", ") } : {}),
                ...retryAfter(status === 503 ? usualOutageSeconds : undefined)
              })
            )
          )
        }),
        Effect.filterOrElse((response) => !isBare(response), ({ status }) => problemOf(status, path)),
        Effect.tap(({ status }) =>
          Effect.contextWith((context: Context.Context<never>) =>
            Effect.map(
              Clock.currentTimeNanos,
              (now) => {
                const route = patternOf(context)
                metrics.observe(request.method, route, status, Number(now - started) / 1e9)
                traces.answered(span, { route, status })
              }
            )
          )
        ),
        Effect.annotateLogs({ requestId }),
        Effect.withParentSpan(span),
        Effect.ensuring(Effect.sync(() => {
          metrics.requestEnded()
          // One that was answered has ended already
          traces.abandoned(span)
        }))
      )
      return HttpServerResponse.setHeader(answered, "x-request-id", requestId)
    })
)

const patternOf = (context: Context.Context<never>): string =>
  Option.match(Context.getOption(context, HttpRouter.RouteContext), {
    onNone: () => "unmatched",
    onSome: ({ route }) => route.path
  })
