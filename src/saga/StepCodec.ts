import { Schema } from "effect"
import type { Effect } from "effect"

/** A schema that needs no services; only what it encodes to has to be JSON. */
export type StepSchema = Schema.Codec<unknown, unknown>

/** How a value is written to the journal and read back. */
export interface StepCodec<out A> {
  readonly encode: (value: unknown) => Effect.Effect<Schema.Json, Schema.SchemaError>
  readonly decode: (json: Schema.Json) => Effect.Effect<A, Schema.SchemaError>
}

/** The size in bytes of UTF-8 that `json` has as text, where that is more than `limit`. */
export const sizeBeyond = (json: Schema.Json, limit: number): number | undefined => {
  const text = JSON.stringify(json)
  // A unit of a string takes three bytes at most
  if (text.length * 3 <= limit) return undefined
  const bytes = new TextEncoder().encode(text).length
  return bytes > limit ? bytes : undefined
}

export const make = <A>(schema: Schema.Codec<A, unknown>): StepCodec<A> => {
  const codec = Schema.toCodecJson(schema)
  return { encode: Schema.encodeUnknownEffect(codec), decode: Schema.decodeEffect(codec) }
}
