/** The headers that messaging itself reads and writes. */
import { Effect, Option } from "effect"
import type { Tracer } from "effect"
import { Headers, HttpTraceContext } from "effect/http"

/** A UUID that stays the same when a message is published, retried or replayed again. */
export const eventId = "event-id"

/** W3C Trace Context, level 1. */
const traceparent = "traceparent"

/** A message on its way through the retry topics: where it came from and how far it is. */
export const retry = {
  /** The group that retries it: to any other it is nothing. */
  group: "retry-group",
  /** The offset that it has in its own topic, in the partition of the same number. */
  offset: "retry-offset",
  /** Milliseconds since the epoch, on the log's clock. */
  publishedAt: "retry-published-at",
  /** Attempts that have failed. */
  attempts: "retry-attempts",
  /** Counts the copies of the message: of two the one with the larger number counts. */
  hops: "retry-hops",
  /** `omitted` when the record was too large to take these headers: the value is read where the message came from. */
  value: "retry-value"
} as const

/** A message whose payload was too large to go along. */
export const payload = {
  /** Where it is in the `PayloadStore`; it holds the digest. */
  location: "payload-location",
  /** Bytes. */
  size: "payload-size"
} as const

/** A dead letter that was replayed. */
export const replay = {
  /** The group that failed: other groups have handled the message and pass it over. */
  group: "replay-group",
  /** How often the message has been replayed. */
  count: "replay-count"
} as const

/** Why and from where a record came to the dead letters. */
export const deadLetter = {
  error: "dlq-error",
  message: "dlq-message",
  /** Where in the program it failed: some frames of the stack. */
  stack: "dlq-stack",
  /** Of error and stack: the same for failures of the same kind. */
  digest: "dlq-digest",
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
