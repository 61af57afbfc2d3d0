/** How the rate limiter's store speaks with its scripts: what they are given, and what they answer. */
import { Option, Schema } from "effect"
import type { Admitted, Left } from "../../resilience/ratelimit/Decision.ts"
import type { Algorithm, RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import type { Demand, Outcome, Settlement } from "../../resilience/RateLimiterStore.ts"
import * as LuaScript from "./LuaScript.ts"

const scriptOf = (file: string): LuaScript.LuaScript => LuaScript.ofFiles("limits.lua", "log.lua", "states.lua", file)
export const take = scriptOf("take.lua")
export const inspect = scriptOf("inspect.lua")
export const settle = scriptOf("settle.lua")

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

/** What the names of a policy's keys begin with. A policy's name holds no colon, so no two policies share a key. */
const keysOf = (prefix: string, policy: RateLimitPolicy): string => `${prefix}:${policy.name}:`

export const keyOf = (prefix: string, { key, policy }: Key): string => keysOf(prefix, policy) + key

interface Known {
  /** By which the other arguments refer to the policy. */
  readonly number: string
  readonly keys: string
}

/** Arguments begin with the policies, each told once. */
class Arguments {
  readonly keys: Array<string> = []
  readonly rest: Array<string> = []
  readonly #prefix: string
  readonly #policies = new Map<RateLimitPolicy, Known>()

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** Adds a key of the policy, and answers with the policy's number. */
  add({ key, policy }: Key): string {
    let known = this.#policies.get(policy)
    if (known === undefined) {
      known = { number: `${this.#policies.size + 1}`, keys: keysOf(this.#prefix, policy) }
      this.#policies.set(policy, known)
    }
    this.keys.push(known.keys + key)
    return known.number
  }

  get input(): Input {
    const args = [`${this.#policies.size}`]
    for (const { algorithm, capacity, forgetsAfterMillis, limit, windowMillis } of this.#policies.keys()) {
      args.push(`${numberOf[algorithm]}`, `${limit}`, `${windowMillis}`, `${capacity}`, `${forgetsAfterMillis}`)
    }
    return { keys: this.keys, args: args.concat(this.rest) }
  }
}

export const takeInput = (prefix: string, calls: Calls): Input => {
  const args = new Arguments(prefix)
  for (const demands of calls) {
    if (demands.length !== 1) args.rest.push(`${demands.length}`)
    for (const demand of demands) args.rest.push(`${args.add(demand)} ${demand.cost}`)
  }
  return args.input
}

export const inspectInput = (prefix: string, keys: ReadonlyArray<Key>): Input => {
  const args = new Arguments(prefix)
  for (const key of keys) args.rest.push(args.add(key))
  return args.input
}

export const settleInput = (prefix: string, settlements: ReadonlyArray<Settlement>): Input => {
  const args = new Arguments(prefix)
  for (const { actual, demand, grant: { at, owed } } of settlements) {
    args.rest.push(args.add(demand), `${actual - demand.cost}`, `${at}`, `${owed}`)
  }
  return args.input
}

/** Nothing that a script tells is ever negative. */
const numbersOf = Schema.decodeUnknownOption(Schema.Array(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))))

/** Reads an answer number by number. */
class Reader {
  readonly #numbers: ReadonlyArray<number>
  #at = 0

  constructor(numbers: ReadonlyArray<number>) {
    this.#numbers = numbers
  }

  /** Whether no number is left, and none was missing. */
  get isAtEnd(): boolean {
    return this.#at === this.#numbers.length
  }

  next(): number {
    return this.#numbers[this.#at++] ?? 0
  }

  left(): Left {
    return { remaining: this.next(), resetMillis: this.next() }
  }

  admitted(): Admitted {
    return { _tag: "Admitted", remaining: this.next(), resetMillis: this.next(), at: this.next(), owed: this.next() }
  }

  outcome(demands: ReadonlyArray<Demand>): Outcome {
    if (this.next() !== 0) return { _tag: "Taken", grants: demands.map(() => this.admitted()) }
    const retryAfterMillis = this.next()
    const refusedBy = this.next()
    return { _tag: "NotTaken", left: demands.map(() => this.left()), retryAfterMillis, refusedBy }
  }
}

const read = <A>(answer: unknown, by: (reader: Reader) => A): Option.Option<A> =>
  Option.flatMap(numbersOf(answer), (numbers) => {
    const reader = new Reader(numbers)
    const result = by(reader)
    return reader.isAtEnd ? Option.some(result) : Option.none()
  })

/** Nothing when the answer is not one to these calls. */
export const takeAnswer = (answer: unknown, calls: Calls): Option.Option<ReadonlyArray<Outcome>> =>
  read(answer, (reader) => calls.map((demands) => reader.outcome(demands)))

export const inspectAnswer = (answer: unknown, keys: ReadonlyArray<Key>): Option.Option<ReadonlyArray<Left>> =>
  read(answer, (reader) => keys.map(() => reader.left()))
