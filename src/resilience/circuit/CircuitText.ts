/**
 * When a circuit opens and for how long, as settings write it: `5 failures; open=30s`. First what opens it: failures in
 * a row, or the share of failed calls in a window (`50% of 20 calls`, `50% in 1 minute`). Then, in any order:
 *
 * - `open=30s`: how long it stays open.
 * - `growth=2`: by how much longer with each opening in a row; `at most=5 minutes`.
 * - `probes=3`: how many calls at a time find out whether it may close.
 * - `minimum=10`: with fewer calls in the window nothing opens it.
 * - `slow=80% over 2s`: opens it, too, when so many calls in the window took so long.
 */
import { Duration, Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import * as SpanText from "../SpanText.ts"
import type { CircuitOptions, Rates, TripPolicy } from "./CircuitSettings.ts"
import { fromOptions } from "./CircuitSettings.ts"

/** What a breaker is made with but its name, and the text that says so. */
export interface CircuitPlan {
  readonly text: string
  readonly options: Omit<CircuitOptions, "name">
}

const parameters = ["open", "growth", "at most", "probes", "minimum", "slow"] as const
type Parameter = typeof parameters[number]
const isParameter = (name: string): name is Parameter => parameters.some((known) => known === name)

/** Not a number where there is none: what the options are checked for. */
const numberOf = (text: string): number => /^\d{1,15}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
const shareOf = (text: string): number => /^[\d.]+%$/.test(text) ? numberOf(text.slice(0, -1)) / 100 : Number.NaN
const spanOf = (text: string): Duration.Duration => Duration.millis(SpanText.read(text) ?? 0)

const slowOf = (text: string): Rates["slowCalls"] => {
  const [, rate = "", after = ""] = /^(\S+)\s+over\s+(.+)$/.exec(text) ?? []
  return { rate: shareOf(rate), after: spanOf(after) }
}

const tripOf = (text: string, values: ReadonlyMap<Parameter, string>): TripPolicy | undefined => {
  const [, failures] = /^(\S+)\s+failures?$/.exec(text) ?? []
  if (failures !== undefined) return { _tag: "ConsecutiveFailures", failures: numberOf(failures) }
  const [, rate = "", calls, span = ""] = /^(\S+)\s+(?:of\s+(\S+)\s+calls|in\s+(.+))$/.exec(text) ?? []
  if (rate === "") return undefined
  const minimum = values.get("minimum")
  const slow = values.get("slow")
  return {
    _tag: "Rates",
    window: calls === undefined
      ? { _tag: "Time", duration: spanOf(span) }
      : { _tag: "Calls", size: numberOf(calls) },
    minimumCalls: minimum === undefined ? calls === undefined ? 10 : numberOf(calls) : numberOf(minimum),
    failureRate: shareOf(rate),
    slowCalls: slow === undefined ? undefined : slowOf(slow)
  }
}

/** Fails with everything that is wrong, in words. */
export const parse = (text: string): Effect.Effect<CircuitPlan, string> =>
  Effect.gen(function*() {
    const [condition = "", ...rest] = text.split(";").map((part) => part.trim())
    const values = new Map<Parameter, string>()
    const mistakes: Array<string> = []
    for (const part of rest) {
      const [, name = part, value = ""] = /^([^=]*?)\s*=\s*(.*)$/.exec(part) ?? []
      if (!isParameter(name)) mistakes.push(`${JSON.stringify(name)} is not one of ${parameters.join(", ")}`)
      else if (values.has(name)) mistakes.push(`${name} is given twice`)
      else values.set(name, value)
    }
    const trip = tripOf(condition, values)
    if (trip === undefined) {
      mistakes.push(
        `${JSON.stringify(condition)} is not like "5 failures", "50% of 20 calls" or "50% in 1 minute"`
      )
      return yield* Effect.fail(mistakes.join("; "))
    }
    if (trip._tag === "ConsecutiveFailures") {
      for (const name of ["minimum", "slow"] as const) {
        if (values.has(name)) mistakes.push(`${name} needs a window, such as "50% of 20 calls"`)
      }
    }
    const span = (name: Parameter) => {
      const value = values.get(name)
      return value === undefined ? undefined : spanOf(value)
    }
    const number = (name: Parameter) => {
      const value = values.get(name)
      return value === undefined ? undefined : numberOf(value)
    }
    const options = {
      trip,
      openFor: span("open"),
      openForAtMost: span("at most"),
      growth: number("growth"),
      halfOpen: { probes: number("probes") }
    }
    const checked = yield* Effect.result(fromOptions({ name: "circuit", ...options }))
    if (Result.isFailure(checked)) mistakes.push(...checked.failure.problems)
    return mistakes.length > 0 ? yield* Effect.fail(mistakes.join("; ")) : { text: text.trim(), options }
  })

export const isCircuitPlan = (value: unknown): value is CircuitPlan =>
  typeof value === "object" && value !== null && "text" in value && "options" in value

const Plan = Schema.declare(isCircuitPlan)

/** Reads settings; a text with mistakes fails with one line that names all of them. */
export const fromText = Schema.String.pipe(Schema.decodeTo(
  Plan,
  SchemaTransformation.transformEffect<CircuitPlan, string>({
    decode: (text, options) =>
      Effect.mapError(parse(text), (message) => new SchemaIssue.InvalidValue({ message }, text, options)),
    encode: ({ text }) => Effect.succeed(text)
  })
))
