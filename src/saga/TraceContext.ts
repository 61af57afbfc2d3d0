/** The trace of a saga as the journal keeps it, so that one trace goes on over restarts. W3C Trace Context, level 1. */
import { Context, Effect, Option, References } from "effect"
import type { Tracer } from "effect"
import { Headers, HttpTraceContext } from "effect/http"

const header = "traceparent"

const format = (span: Tracer.AnySpan): string | undefined =>
  span._tag === "Span"
    ? HttpTraceContext.toHeaders(span)[header]
    : `00-${span.traceId}-${span.spanId}-${span.sampled ? "01" : "00"}`

/** The span that this is called in. */
export const current: Effect.Effect<string | undefined> = Effect.withFiberSucceed(
  ({ cache: { span } }) => span === undefined ? undefined : format(span)
)

/**
 * The span around the one that this is called in, which is the saga's own; or else that one. A saga's own span may
 * never end, so it makes a poor parent for what comes after a restart.
 */
export const outer: Effect.Effect<string | undefined> = Effect.withFiberSucceed(
  ({ cache: { span } }) => span?._tag === "Span" ? format(Option.getOrElse(span.parent, () => span)) : undefined
)

/** A span of a saga; nothing at all where nobody traces, since a span that is kept nowhere costs as much as a step. */
export const withSpan =
  (name: string, attributes: Readonly<Record<string, string>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.contextWith((context) => withSpanIn(context, name, attributes)(effect))

/** As `withSpan`, for who has the context at hand. */
export const withSpanIn =
  (context: Context.Context<never>, name: string, attributes: Readonly<Record<string, string>>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Context.get(context, References.TracerEnabled)
      ? Effect.withSpan(effect, name, { attributes, captureStackTrace: false })
      : effect

/** Makes the kept span the parent of the spans of `effect`; one that is malformed is left out. */
export const resume =
  (traceparent: string | undefined) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    traceparent === undefined ?
      effect :
      Option.match(HttpTraceContext.w3c(Headers.fromInput({ [header]: traceparent })), {
        onNone: () => effect,
        onSome: (parent) => Effect.withParentSpan(effect, parent)
      })
