/** The headers that messaging itself reads and writes. */
import { Effect, Option } from "effect"
import type { Tracer } from "effect"
import { Headers, HttpTraceContext } from "effect/http"

/** A UUID that stays the same when a message is published, retried or replayed again. */
export const eventId = "event-id"

/** W3C Trace Context, level 1. */
const traceparent = "traceparent"

/** Why and from where a record came to the dead letters. */
export const deadLetter = {
  error: "dlq-error",
  message: "dlq-message",
  group: "dlq-group",
  topic: "dlq-topic",
  partition: "dlq-partition",
  offset: "dlq-offset",
  attempts: "dlq-attempts",
  at: "dlq-at",
  /** `omitted` when the value was too large to keep. */
  value: "dlq-value"
} as const

export type HeaderRecord = Readonly<Record<string, string>>

/** The span that a record was published in; none when the header is missing or malformed. */
const parentSpan = (headers: HeaderRecord): Option.Option<Tracer.ExternalSpan> =>
  HttpTraceContext.w3c(Headers.fromInput(headers))

/** Makes the span that a record was published in the parent of the spans of `effect`. */
export const withParentSpan =
  (headers: HeaderRecord) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Option.match(parentSpan(headers), {
      onNone: () => effect,
      onSome: (parent) => Effect.withParentSpan(effect, parent)
    })

/** The header of the current span; none outside a span. */
export const currentTraceparent: Effect.Effect<HeaderRecord> = Effect.currentSpan.pipe(
  Effect.map((span) => ({ [traceparent]: HttpTraceContext.toHeaders(span)[traceparent] ?? "" })),
  Effect.orElseSucceed(() => ({}))
)
