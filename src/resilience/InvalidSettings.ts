import { Effect, Schema } from "effect"

/** A policy can't be built from its settings. Every problem is listed, so that one look repairs them all. */
export class InvalidSettings extends Schema.TaggedError<InvalidSettings>()("InvalidSettings", {
  policy: Schema.String,
  problems: Schema.Array(Schema.String)
}) {
  override get message() {
    return `${this.policy} can't be built: ${this.problems.join("; ")}`
  }
}

/** A check of one setting: the problem in words, or nothing. */
export type Check = string | undefined

const isWhole = (value: number) => Number.isSafeInteger(value)

/** A whole number within `[minimum, maximum]`; NaN, infinities and fractions are refused. */
export const wholeNumber = (name: string, value: number, minimum: number, maximum: number): Check =>
  isWhole(value) && value >= minimum && value <= maximum
    ? undefined
    : `${name} must be a whole number from ${minimum} to ${maximum}, not ${value}`

/** A finite number within `[minimum, maximum]`. */
export const finiteNumber = (name: string, value: number, minimum: number, maximum: number): Check =>
  value >= minimum && value <= maximum && Number.isFinite(value)
    ? undefined
    : `${name} must be a number from ${minimum} to ${maximum}, not ${value}`

/** A share of calls: more than 0, at most 1. */
export const share = (name: string, value: number): Check =>
  value > 0 && value <= 1 ? undefined : `${name} must be a share in (0, 1], not ${value}`

/** A time span in milliseconds of at least one (the clock's step) and at most ten years, so that sums stay exact. */
export const timeSpan = (name: string, millis: number): Check =>
  millis >= 1 && millis <= 315_360_000_000 ? undefined : `${name} must be from 1 ms to 10 years, not ${millis} ms`

/** The settings if no check found a problem, else all problems at once. */
export const checked = <A>(
  policy: string,
  settings: A,
  checks: ReadonlyArray<Check>
): Effect.Effect<A, InvalidSettings> => {
  const problems = checks.filter((check) => check !== undefined)
  return problems.length === 0 ? Effect.succeed(settings) : Effect.fail(new InvalidSettings({ policy, problems }))
}
