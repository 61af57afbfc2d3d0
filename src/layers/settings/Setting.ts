/** One thing that can be set: what it is called in the environment, how it is read, and what is said of it. */
import { Config, Duration, Effect, Schema } from "effect"
import type { Redacted } from "effect"

export interface Setting<A> {
  readonly name: string
  /** In words, with names and values between backticks. */
  readonly purpose: string
  /** What holds when it is not set: a value as one would write it, or words. */
  readonly fallback: string
  /** Whether `fallback` is read in place of what is not set. */
  readonly isPreset: boolean
  /** Whether what was set is never shown, not even where it is mistaken. */
  readonly isSecret: boolean
  readonly config: Config.Config<A>
}

type Reader<A> = (name: string) => Config.Config<A>

/** A setting that has a value when nobody set it: the preset, read as if it had been. */
export const preset = <A>(name: string, fallback: string, purpose: string, read: Reader<A>): Setting<A> => ({
  name,
  purpose,
  fallback,
  isPreset: true,
  isSecret: false,
  config: read(name)
})

/** A setting that may stay unset; `fallback` says in words what happens then. */
export const optional = <A>(
  name: string,
  fallback: string,
  purpose: string,
  read: Reader<A>
): Setting<A | undefined> => ({
  name,
  purpose,
  fallback,
  isPreset: false,
  isSecret: false,
  config: Config.withDefault(read(name), undefined)
})

/** What is never shown. */
export const secret = (
  name: string,
  fallback: string,
  purpose: string,
  schema: Schema.Codec<string, string>
): Setting<Redacted.Redacted<string> | undefined> => ({
  ...optional(name, fallback, purpose, (name) => Config.schema(Schema.RedactedFromValue(schema), name)),
  isSecret: true
})

export const integer = (minimum: number, maximum: number): Reader<number> => (name) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum, maximum })), name)

/** Text of one form; `expected` says which. */
export const text = (form: RegExp, expected: string) => Schema.String.check(Schema.isPattern(form, { expected }))

/** What `read` brings, where it is as the schema says. */
export const checked = <A>(read: Reader<A>, schema: Schema.Codec<A>): Reader<A> => {
  const check = Schema.decodeEffect(schema)
  return (name) =>
    Config.mapEffect(read(name), (value) => Effect.mapError(check(value), (error) => new Config.ConfigError(error)))
}

const Span = Schema.Duration.check(
  Schema.makeFilter((duration) =>
    Duration.isPositive(duration) && Duration.isLessThanOrEqualTo(duration, Duration.days(365))
      ? undefined
      : "expected more than no time, and at most 365 days"
  )
)

/** A span of time. */
export const span: Reader<Duration.Duration> = checked(Config.Duration, Span)

const readSpan = Schema.decodeEffect(Span)
const readSpanText = Schema.decodeEffect(Schema.DurationFromString)
const readSpans = Schema.decodeEffect(Schema.Array(Schema.Duration).check(Schema.isMaxLength(20)))

/** Spans of time with commas between. */
export const spans: Reader<ReadonlyArray<Duration.Duration>> = (name) =>
  Config.mapEffect(
    Config.String(name),
    (text) =>
      Effect.forEach(text.split(","), (one) => Effect.flatMap(readSpanText(one.trim()), readSpan)).pipe(
        Effect.flatMap(readSpans),
        Effect.mapError((error) => new Config.ConfigError(error))
      )
  )
