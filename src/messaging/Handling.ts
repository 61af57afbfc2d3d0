/** How a consumer's handler says that a message was not handled. */
import { Effect, Schema } from "effect"
import type { LogRecord } from "./EventLog.ts"

/** This attempt failed, another may succeed: the message is retried, and dead-lettered when the retries are used up. */
export class HandlingFailed extends Schema.TaggedError<HandlingFailed>()("HandlingFailed", {
  /** Stable and short, for headers and metrics. */
  code: Schema.String,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/** No attempt can succeed: the message goes to the dead letters at once. */
export class MessageRefused extends Schema.TaggedError<MessageRefused>()("MessageRefused", {
  /** Stable and short, for headers and metrics. */
  code: Schema.String,
  message: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {}

/** The message means nothing to this consumer, which passes it over: neither a failure nor a reason to wait. */
export class MessageSkipped extends Schema.TaggedError<MessageSkipped>()("MessageSkipped", {
  /** Stable and short, for metrics. */
  code: Schema.String,
  message: Schema.String
}) {}

/** Reads a record's value as UTF-8 JSON of the given schema; anything else is refused as `undecodable`. */
export const decodeJson = <A, RD>(
  schema: Schema.Codec<A, unknown, RD, unknown>
): (record: LogRecord) => Effect.Effect<A, MessageRefused, RD> => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  const refuse = (cause: { readonly message: string }) =>
    new MessageRefused({ code: "undecodable", message: cause.message, cause })
  return ({ value }) =>
    Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(value),
      catch: () => refuse({ message: "The value is not UTF-8" })
    }).pipe(
      Effect.flatMap(decode),
      Effect.catchTag("SchemaError", refuse)
    )
}
