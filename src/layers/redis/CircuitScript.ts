/** How the store of circuits speaks with its script: what it is given, and what it answers. */
import { Option, Schema } from "effect"
import type { CircuitSettings } from "../../resilience/circuit/CircuitSettings.ts"
import type { Outcome, StateName } from "../../resilience/circuit/CircuitState.ts"
import type { CircuitAnswer, CircuitStep } from "../../resilience/CircuitStore.ts"
import * as LuaScript from "./LuaScript.ts"

export const script = LuaScript.ofFiles("circuit.lua")

export interface Names {
  /** The hash tag of all keys, in braces. */
  readonly tag: string
  readonly forgetsAfterMillis: number
  readonly maxCircuits: number
}

/** Breakers' names may hold anything, so that they are written without what divides names. */
const under = (letter: "c" | "w" | "i", { tag }: Names, breaker: string): string =>
  `${letter}${tag}${encodeURIComponent(breaker)}`

export const indexOf = (names: Names, breaker: string): string => under("i", names, breaker)

/** The keys of the circuits that an index names. A breaker with one circuit has none. */
export const keysOf = (names: Names, breaker: string, members: ReadonlyArray<string>): ReadonlyArray<string> => {
  const start = `${under("c", names, breaker)}:`
  return members.flatMap((member) => member.startsWith(start) ? [member.slice(start.length)] : [])
}

const outcomes: Readonly<Record<Outcome, string>> = { Success: "1", Failure: "2", Ignored: "3", Interrupted: "4" }

/** As the script numbers them. */
const states: ReadonlyArray<StateName> = [
  "Closed",
  "Open",
  "HalfOpen",
  "ForcedOpen",
  "ForcedClosed",
  "Disabled",
  "MetricsOnly"
]

const word = (value: number): string => Number.isFinite(value) ? `${value}` : "inf"

const windowWords = ({ window }: CircuitSettings): ReadonlyArray<number> => {
  switch (window._tag) {
    case "Streak":
      return [1, 0, 0]
    case "CountWindow":
      return [2, window.size, 0]
    case "TimeWindow":
      return [3, window.bucketMillis, window.buckets]
  }
}

const settingsWords = (settings: CircuitSettings, { forgetsAfterMillis, maxCircuits }: Names): ReadonlyArray<string> =>
  [
    ...windowWords(settings),
    settings.failuresInARow,
    settings.minimumCalls,
    settings.failureRate,
    settings.slowRate,
    settings.slowAfterMillis,
    settings.openMillis,
    settings.growth,
    settings.maxOpenMillis,
    settings.stableMillis,
    settings.probes,
    settings.successes,
    settings.leaseMillis,
    forgetsAfterMillis,
    maxCircuits
  ].map(word)

const eventWords = (event: CircuitStep["event"]): ReadonlyArray<string> => {
  switch (event._tag) {
    case "Look":
      return ["look"]
    case "Admit":
      return ["admit"]
    case "Settle": {
      const { outcome, permit, tookMillis } = event
      return ["settle", `${permit.generation}`, `${permit.probe}`, outcomes[outcome], `${tookMillis}`]
    }
    case "Force":
      return ["force", `${states.indexOf(event.mode) + 1}`]
    case "Reset":
      return ["reset"]
  }
}

export interface Input {
  readonly keys: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
}

export const input = (names: Names, steps: ReadonlyArray<CircuitStep>): Input => {
  const numbers = new Map<CircuitSettings, number>()
  const keys: Array<string> = []
  const rest: Array<string> = []
  for (const { event, key, settings } of steps) {
    const number = numbers.get(settings) ?? numbers.size + 1
    numbers.set(settings, number)
    const name = key === undefined ? "" : `:${key}`
    const { name: breaker } = settings
    keys.push(under("c", names, breaker) + name, under("w", names, breaker) + name, indexOf(names, breaker))
    rest.push(`${number}`, ...eventWords(event))
  }
  const settings = Array.from(numbers.keys()).flatMap((settings) => settingsWords(settings, names))
  return { keys, args: [`${numbers.size}`, ...settings, ...rest] }
}

const length = 12
const isState = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: states.length }))
const natural = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
const orNone = Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1))

const Step = Schema.Tuple([
  Schema.Literals([1, 2, 3, 4, 5, 6]),
  orNone,
  natural,
  isState,
  natural,
  isState,
  natural,
  natural,
  orNone,
  natural,
  natural,
  natural
])

const numbersOf = Schema.decodeUnknownOption(Schema.Array(Schema.Int))
const stepOf = Schema.decodeUnknownOption(Step)

const stateOf = (number: number): StateName => states[number - 1] ?? "Closed"

const decisionOf = (code: 1 | 2 | 3 | 4 | 5 | 6, one: number, other: number): CircuitAnswer["decision"] => {
  switch (code) {
    case 1:
      return { _tag: "Admitted", permit: { generation: one, probe: other } }
    case 2:
      return { _tag: "Rejected", retryAfterMillis: one < 0 ? undefined : one }
    case 3:
      return { _tag: "Settled" }
    case 4:
      return { _tag: "Late" }
    case 5:
      return { _tag: "Changed" }
    case 6:
      return { _tag: "Looked" }
  }
}

/** Nothing when the answer is not one to so many steps. */
export const answers = (answer: unknown, steps: number): Option.Option<ReadonlyArray<CircuitAnswer>> =>
  Option.flatMap(numbersOf(answer), (numbers) =>
    numbers.length !== steps * length
      ? Option.none()
      : Option.all(
        Array.from({ length: steps }, (_, n) =>
          Option.map(stepOf(numbers.slice(n * length, (n + 1) * length)), (step): CircuitAnswer => {
            const [code, one, other, before, beforeGeneration, after, generation, since, open, calls, failures, slow] =
              step
            return {
              decision: decisionOf(code, one, other),
              before: { state: stateOf(before), generation: beforeGeneration },
              after: {
                state: stateOf(after),
                generation,
                sinceMillis: since,
                openMillis: open < 0 ? undefined : open,
                calls: { calls, failures, slow }
              }
            }
          }))
      ))
