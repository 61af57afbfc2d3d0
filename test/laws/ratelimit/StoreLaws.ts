/** Histories of everything that a store can be asked, on the store and on the pure core side by side. */
import { assert, layer } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import type { Layer } from "effect"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import type { Admitted, Left } from "../../../src/resilience/ratelimit/Decision.ts"
import type { Algorithm, RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import type { Demand, Outcome, Settlement } from "../../../src/resilience/RateLimiterStore.ts"
import { algorithms, between, policies, policyOf, runs } from "./Histories.ts"
import { TimedStores } from "./TimedStore.ts"
import type { TimedStore } from "./TimedStore.ts"

/** The pure core for many keys: nothing is ever forgotten. */
class Model {
  readonly #states = new Map<string, LimitState | undefined>()

  #state({ key, policy }: Pick<Demand, "policy" | "key">): LimitState | undefined {
    return this.#states.get(`${policy.name}/${key}`)
  }

  #set({ key, policy }: Pick<Demand, "policy" | "key">, state: LimitState | undefined): void {
    this.#states.set(`${policy.name}/${key}`, state)
  }

  take(demands: ReadonlyArray<Demand>, now: number): Outcome {
    const steps = demands.map((demand) => ({
      demand,
      ...Core.decide(demand.policy, this.#state(demand), demand.cost, now)
    }))
    const grants = steps.flatMap(({ decision }) => decision._tag === "Admitted" ? [decision] : [])
    if (grants.length === steps.length) {
      for (const { demand, state } of steps) this.#set(demand, state)
      return { _tag: "Taken", grants }
    }
    const waits = steps.map(({ decision }) => decision._tag === "Refused" ? decision.retryAfterMillis : 0)
    const retryAfterMillis = Math.max(...waits)
    const left = steps.map(({ decision, demand, state }): Left => {
      if (decision._tag !== "Refused") return Core.inspect(demand.policy, this.#state(demand), now)
      this.#set(demand, state)
      return decision
    })
    return { _tag: "NotTaken", left, retryAfterMillis, refusedBy: waits.indexOf(retryAfterMillis) }
  }

  settle({ actual, demand, grant }: Settlement, now: number): void {
    this.#set(demand, Core.settle(demand.policy, this.#state(demand), grant, actual - demand.cost, now))
  }

  inspect(key: Pick<Demand, "policy" | "key">, now: number): Left {
    return Core.inspect(key.policy, this.#state(key), now)
  }

  forget(policy: RateLimitPolicy, key: string): void {
    this.#set({ policy, key }, undefined)
  }
}

const Act = Schema.Struct({
  does: Schema.Literals(["take", "take", "take", "take", "take", "settle", "settle", "inspect", "forget"]),
  /** Which of the names the call demands, as bits; none is all of them. */
  names: between(0, 7),
  /** Which policy goes by each of the names now. */
  variant: Schema.Literals([0, 1]),
  key: Schema.Literals(["a", "a", "b"]),
  cost: between(1, 6),
  /** Which grant is settled, from the latest. */
  back: Schema.Literals([0, 0, 1, 4]),
  actual: between(0, 14),
  gap: Schema.Int
})
type Act = typeof Act.Type

const acts = (gaps: ReadonlyArray<number>, maxLength: number, minLength = 1) =>
  Arbitrary.array(Arbitrary.schema(Schema.Struct({ ...Act.fields, gap: Schema.Literals(gaps) })), {
    minLength,
    maxLength
  })

const named = (policy: RateLimitPolicy, name: string) =>
  policyOf({
    name,
    algorithm: policy.algorithm,
    limit: policy.limit,
    window: policy.windowMillis,
    burst: policy.algorithm.endsWith("bucket") ? policy.capacity : undefined
  })

/** Three names, and two policies that go by each of them. */
const variants = (among: ReadonlyArray<Algorithm>) =>
  Arbitrary.map(
    Arbitrary.array(policies(among), { minLength: 6, maxLength: 6 }),
    (all) =>
      [0, 1].map((variant) =>
        [0, 1, 2].flatMap((slot) => {
          const policy = all[2 * slot + variant]
          return policy === undefined ? [] : [named(policy, `p${slot}`)]
        })
      )
  )

const forward = [0, 0, 0, 1, 3, 9, 40, 130, 400]
/** By less than a window, and by far more. */
const backward = [-1, -4, -30, -5_000]

interface Step {
  readonly run: (store: TimedStore) => Effect.Effect<unknown>
  readonly expected: unknown
}

/** Limits so large that a log has hundreds of entries, most of them still in the window. */
const longLogs = Arbitrary.map(
  Arbitrary.schema(Schema.Struct({ limit: between(200, 2_000), window: between(100, 400) })),
  ({ limit, window }) => policyOf({ name: "p0", limit, window, algorithm: "sliding-window" })
)

const shown = (outcome: Outcome) =>
  outcome._tag === "Taken"
    ? outcome
    : { ...outcome, left: outcome.left.map(({ remaining, resetMillis }) => ({ remaining, resetMillis })) }

/** Plays the acts on the core, and says what to ask a store and what it must answer. */
const stepsOf = (policies: ReadonlyArray<ReadonlyArray<RateLimitPolicy>>, history: ReadonlyArray<Act>) => {
  const model = new Model()
  const steps: Array<Step> = []
  const grants: Array<{ readonly demand: Demand; readonly grant: Admitted }> = []
  let now = 1_000_000
  let takes: { readonly calls: Array<ReadonlyArray<Demand>>; readonly expected: Array<unknown> } | undefined
  for (const { actual, back, cost, does, gap, key, names, variant } of history) {
    now += gap
    const at = now
    const policiesNow = (policies[variant] ?? []).filter((_, slot) => names === 0 || (names >> slot) % 2 === 1)
    if (gap !== 0 || does !== "take") takes = undefined
    switch (does) {
      case "take": {
        const demands = policiesNow.map((policy) => ({ policy, key, cost: Cost.make(Math.min(cost, policy.capacity)) }))
        const outcome = model.take(demands, at)
        if (outcome._tag === "Taken") {
          outcome.grants.forEach((grant, index) => {
            const demand = demands[index]
            if (demand !== undefined) grants.push({ demand, grant })
          })
        }
        // Those of one time go to the store together
        if (takes === undefined) {
          const together = { calls: [], expected: [] }
          takes = together
          steps.push({
            run: (store) => Effect.map(store.take(together.calls, at), (outcomes) => outcomes.map(shown)),
            expected: together.expected
          })
        }
        takes.calls.push(demands)
        takes.expected.push(shown(outcome))
        break
      }
      case "settle": {
        const granted = grants.at(-1 - back)
        if (granted === undefined) break
        const settlement = { ...granted, actual: actual === 0 ? 0 as const : Cost.make(actual) }
        model.settle(settlement, at)
        steps.push({ run: (store) => store.settle([settlement], at), expected: undefined })
        break
      }
      case "inspect": {
        const keys = policiesNow.map((policy) => ({ policy, key }))
        steps.push({
          run: (store) => store.inspect(keys, at),
          expected: keys.map((one) => model.inspect(one, at))
        })
        break
      }
      case "forget": {
        const [policy] = policiesNow
        if (policy === undefined) break
        model.forget(policy, key)
        steps.push({ run: (store) => store.forget(policy, key), expected: undefined })
        break
      }
    }
  }
  return steps
}

const compare = Effect.fnUntraced(function*(
  store: TimedStore,
  policies: ReadonlyArray<ReadonlyArray<RateLimitPolicy>>,
  history: ReadonlyArray<Act>
) {
  const steps = stepsOf(policies, history)
  const answers = yield* Effect.forEach(steps, ({ run }) => run(store), { concurrency: "unbounded" })
  answers.forEach((answer, index) => assert.deepStrictEqual(answer, steps[index]?.expected))
})

/** Laws that speak of a store as a whole. */
export const storeLaws = <E>(name: string, stores: Layer.Layer<TimedStores, E>) =>
  layer(stores, { excludeTestServices: true, timeout: "2 minutes" })(name, (it) => {
    it.effect.prop("law 9, law 12: it answers as the pure core does that forgets nothing, whatever it is asked", [
      variants(algorithms),
      acts(forward, 60)
    ], ([[policies = []], history]) =>
      Effect.gen(function*() {
        const { open } = yield* TimedStores
        yield* compare(yield* open({ forgets: true }), [policies, policies], history)
      }), runs)

    it.effect.prop("law 3, law 12: a log of hundreds of entries answers as the pure core does", [
      longLogs,
      acts([0, 1, 1, 1, 2, 3, 3, 5, 70], 900, 300)
    ], ([policy, history]) =>
      Effect.gen(function*() {
        const { open } = yield* TimedStores
        // No key is forgotten by hand here
        const acts = history.filter(({ does, key }) => does !== "forget" && key === "a")
        yield* compare(yield* open({ forgets: true }), [[policy], [policy]], acts)
      }), { arbitrary: { runs: 60, size: 900 } })
  })

/**
 * For stores that can be told to keep everything. One that forgets by the clock may have forgotten what a clock that was
 * set back, or a longer window that came later, makes the core count again.
 */
export const keepingStoreLaws = <E>(name: string, stores: Layer.Layer<TimedStores, E>) =>
  layer(stores, { excludeTestServices: true, timeout: "2 minutes" })(name, (it) => {
    it.effect.prop("law 12, law 14: it answers as the pure core does while policies change under their names", [
      variants(algorithms),
      acts([...forward, ...backward], 60)
    ], ([policies, history]) =>
      Effect.gen(function*() {
        const { open } = yield* TimedStores
        yield* compare(yield* open({ forgets: false }), policies, history)
      }), runs)
  })
