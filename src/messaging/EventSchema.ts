/**
 * Events whose schemas change: an event is JSON with a `type` and a `version`, and a consumer says which it knows. Older
 * versions are brought up to the newest, step by step, so that a handler sees one shape only. A version that is newer
 * than the consumer, and whatever does not fit its schema, is refused: nothing that is not understood is acted upon.
 */
import { Effect, Schema } from "effect"
import type { LogRecord } from "./EventLog.ts"
import { MessageRefused, MessageSkipped } from "./Handling.ts"

/** What is known of one type of event: how each of its versions is read as the newest, `A`. */
export interface EventType<A> {
  readonly versions: ReadonlyMap<number, (json: unknown) => Effect.Effect<A, Schema.SchemaError>>
}

/** A type of which there has been one version only. */
export const first = <A>(schema: Schema.Codec<A, unknown>): EventType<A> => ({
  versions: new Map([[1, Schema.decodeUnknownEffect(schema)]])
})

/** The next version of a type, and how an event of the one before becomes one of it. */
export const next = <A, B>(
  older: EventType<A>,
  schema: Schema.Codec<B, unknown>,
  upcast: (event: A) => B
): EventType<B> => ({
  versions: new Map<number, (json: unknown) => Effect.Effect<B, Schema.SchemaError>>([
    ...[...older.versions].map(([version, decode]) =>
      [version, (json: unknown) => Effect.map(decode(json), upcast)] as const
    ),
    [older.versions.size + 1, Schema.decodeUnknownEffect(schema)]
  ])
})

const parse = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Unknown))
const decodeEnvelope = Schema.decodeUnknownEffect(Schema.Struct({ type: Schema.String, version: Schema.Int }))

const undecodable = (cause: { readonly message: string }) =>
  new MessageRefused({ code: "undecodable", message: cause.message, cause })

/** Reads the events of a topic. What to do with a type that is not among these is the consumer's choice. */
export const decoder = <A>(
  types: Readonly<Record<string, EventType<A>>>,
  options: { readonly unknownTypes: "skip" | "refuse" }
) => {
  const known = new Map(Object.entries(types))
  return Effect.fnUntraced(function*({ value }: LogRecord): Effect.fn.Return<A, MessageRefused | MessageSkipped> {
    const text = yield* Effect.try({
      try: () => new TextDecoder("utf-8", { fatal: true }).decode(value),
      catch: () => undecodable({ message: "The value is not UTF-8" })
    })
    const json = yield* Effect.mapError(parse(text), undecodable)
    const { type, version } = yield* Effect.mapError(decodeEnvelope(json), undecodable)
    const versions = known.get(type)?.versions
    if (versions === undefined) {
      const facts = { code: "unknown_type", message: `This consumer knows no event '${type}'` }
      return yield* options.unknownTypes === "skip" ? new MessageSkipped(facts) : new MessageRefused(facts)
    }
    const decode = versions.get(version)
    if (decode === undefined) {
      return yield* new MessageRefused({
        code: "unknown_version",
        message: `This consumer knows '${type}' up to version ${versions.size}, and this is version ${version}`
      })
    }
    return yield* Effect.mapError(decode(json), undecodable)
  })
}
