/** How the rate limiter's store speaks with its scripts: what they are given, and what they answer. */
import { Option } from "effect"
import type { Admitted, Left } from "../../resilience/ratelimit/Decision.ts"
import type { Algorithm, RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import type { Demand, Outcome, Settlement } from "../../resilience/RateLimiterStore.ts"
import * as LuaScript from "./LuaScript.ts"

/** What an operator asks, corrections, and the calls that are not usual need all of it. */
const states = ["own.lua", "log.lua", "states.lua"]
export const take = LuaScript.ofFiles(
  "limits.lua",
  "usual.lua",
  { condition: "at <= last", files: [...states, "any.lua", "take.lua"] },
  "answer.lua"
)
export const inspect = LuaScript.ofFiles("limits.lua", ...states, "inspect.lua")
export const settle = LuaScript.ofFiles("limits.lua", ...states, "settle.lua")

export type Key = Pick<Demand, "policy" | "key">
type Calls = ReadonlyArray<ReadonlyArray<Demand>>

export interface Input {
  readonly keys: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
}

const numberOf: Readonly<Record<Algorithm, number>> = {
  "fixed-window": 1,
  "sliding-window": 2,
  "token-bucket": 3,
  "leaky-bucket": 4
}

/** A policy's name holds no colon, so no two policies share a key. */
export const keyOf = (prefix: string, { key, policy }: Key): string => `${prefix}:${policy.name}:${key}`

/** All that a script needs to know of a policy, in 32 characters. */
const textOf = ({ algorithm, capacity, limit, windowMillis }: RateLimitPolicy): string =>
  numberOf[algorithm] + `${limit}`.padStart(10, "0") + `${windowMillis}`.padStart(11, "0") +
  `${capacity}`.padStart(10, "0")

const texts = new WeakMap<RateLimitPolicy, string>()
const policyText = (policy: RateLimitPolicy): string => {
  const known = texts.get(policy)
  if (known !== undefined) return known
  const text = textOf(policy)
  texts.set(policy, text)
  return text
}

export const takeInput = (prefix: string, calls: Calls): Input => {
  const keys: Array<string> = []
  const args: Array<string> = []
  let told: RateLimitPolicy | undefined
  for (const demands of calls) {
    if (demands.length > 1) args.push(`*${demands.length}`)
    for (const demand of demands) {
      if (demand.policy !== told) {
        told = demand.policy
        args.push(policyText(told))
      }
      keys.push(keyOf(prefix, demand))
      args.push(`${demand.cost}`)
    }
  }
  return { keys, args }
}

export const inspectInput = (prefix: string, keys: ReadonlyArray<Key>): Input => ({
  keys: keys.map((key) => keyOf(prefix, key)),
  args: keys.map(({ policy }) => policyText(policy))
})

export const settleInput = (prefix: string, settlements: ReadonlyArray<Settlement>): Input => ({
  keys: settlements.map(({ demand }) => keyOf(prefix, demand)),
  args: settlements.flatMap(({ actual, demand: { cost, policy }, grant: { at, owed } }) => [
    policyText(policy),
    `${actual - cost}`,
    `${at}`,
    `${owed}`
  ])
})

/** Nothing that a script tells is ever negative. */
const isNumbers = (answer: unknown): answer is ReadonlyArray<number> =>
  Array.isArray(answer) && answer.every((number) => Number.isSafeInteger(number) && number >= 0)

/** Reads an answer number by number. */
class Reader {
  readonly #numbers: ReadonlyArray<number>
  #at = 0
  #isPossible = true

  constructor(numbers: ReadonlyArray<number>) {
    this.#numbers = numbers
  }

  /** Whether no number is left, none was missing, and what they say can be. */
  get isGood(): boolean {
    return this.#isPossible && this.#at === this.#numbers.length
  }

  next(): number {
    return this.#numbers[this.#at++] ?? 0
  }

  left(): Left {
    return { remaining: this.next(), resetMillis: this.next() }
  }

  /** What remains, and how long until it is all back, follow from what is owed since when, and are not told. */
  admitted({ algorithm, capacity, limit, windowMillis }: RateLimitPolicy, owed: number, now: number): Admitted {
    const at = this.next()
    const isBucket = algorithm === "token-bucket" || algorithm === "leaky-bucket"
    const remaining = isBucket ? Math.floor((capacity * windowMillis - owed) / windowMillis) : capacity - owed
    const resetMillis = at - now + (isBucket ? Math.ceil(owed / limit) : windowMillis)
    if (remaining < 0 || resetMillis < 0) this.#isPossible = false
    return { _tag: "Admitted", remaining, resetMillis, at, owed }
  }

  /** Of a call that demands nothing nothing is said. */
  outcome(demands: ReadonlyArray<Demand>, now: number): Outcome {
    if (demands.length === 0) return { _tag: "Taken", grants: [] }
    const first = this.next()
    if (first > 0) {
      return {
        _tag: "Taken",
        grants: demands.map(({ policy }, index) => this.admitted(policy, index === 0 ? first : this.next(), now))
      }
    }
    const retryAfterMillis = this.next()
    const refusedBy = this.next()
    return { _tag: "NotTaken", left: demands.map(() => this.left()), retryAfterMillis, refusedBy }
  }
}

const read = <A>(answer: unknown, by: (reader: Reader) => A): Option.Option<A> => {
  if (!isNumbers(answer)) return Option.none()
  const reader = new Reader(answer)
  const result = by(reader)
  return reader.isGood ? Option.some(result) : Option.none()
}

/** Nothing when the answer is not one to these calls. */
export const takeAnswer = (answer: unknown, calls: Calls): Option.Option<ReadonlyArray<Outcome>> =>
  read(answer, (reader) => {
    const now = reader.next()
    return calls.map((demands) => reader.outcome(demands, now))
  })

export const inspectAnswer = (answer: unknown, keys: ReadonlyArray<Key>): Option.Option<ReadonlyArray<Left>> =>
  read(answer, (reader) => keys.map(() => reader.left()))
