import { Schema } from "effect"
import type { Effect } from "effect"

/** A schema that needs no services; only what it encodes to has to be JSON. */
export type StepSchema = Schema.Codec<unknown, unknown>

/** How a value is written to the journal and read back. */
export interface StepCodec<out A> {
  readonly encode: (value: unknown) => Effect.Effect<Schema.Json, Schema.SchemaError>
  readonly decode: (json: Schema.Json) => Effect.Effect<A, Schema.SchemaError>
}

export const make = <A>(schema: Schema.Codec<A, unknown>): StepCodec<A> => {
  const codec = Schema.toCodecJson(schema)
  return { encode: Schema.encodeUnknownEffect(codec), decode: Schema.decodeEffect(codec) }
}
