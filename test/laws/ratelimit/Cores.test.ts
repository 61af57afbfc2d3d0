import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import type { Decision } from "../../../src/resilience/ratelimit/Decision.ts"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { decisionLaws } from "./DecisionLaws.ts"
import { algorithms, between, calls, policies, runs, timed } from "./Histories.ts"
import * as Player from "./Player.ts"
import type { Entry } from "./Reference.ts"

/** Runs the core over the calls and hands each decision to `check`, with what was admitted before it. */
const play = (
  policy: RateLimitPolicy,
  entries: ReadonlyArray<Entry>,
  check: (
    step: ReturnType<typeof Core.decide>,
    call: Entry & { readonly before: LimitState | undefined; readonly history: ReadonlyArray<Entry> }
  ) => void = () => {}
): ReadonlyArray<Entry> => {
  let state: LimitState | undefined
  const admitted: Array<Entry> = []
  for (const entry of entries) {
    const step = Core.decide(policy, state, entry.cost, entry.at)
    check(step, { ...entry, before: state, history: admitted })
    state = step.state
    if (step.decision._tag === "Admitted") admitted.push(entry)
  }
  return admitted
}

decisionLaws("pure cores", Player.ofCore)

describe("states of the pure cores", () => {
  it.prop("law 6: a cost above the capacity is impossible at once, whatever the state", [
    policies(algorithms),
    calls,
    between(1, 1_000)
  ], ([policy, history, above]) => {
    play(policy, timed(history), (_, { at, before }) => {
      const { decision, state } = Core.decide(policy, before, policy.capacity + above, at)
      assert.deepStrictEqual(decision, { _tag: "Impossible", capacity: policy.capacity })
      assert.strictEqual(state, before)
    })
  }, runs)

  it.prop("law 7: a refusal leaves the very same state", [policies(algorithms), calls], ([policy, history]) => {
    play(policy, timed(history), ({ decision, state }, { before }) => {
      if (decision._tag !== "Admitted") assert.strictEqual(state, before)
    })
  }, runs)

  it.prop("law 7: an earlier state stays what it was, whatever is decided from it", [policies(algorithms), calls], (
    [policy, history]
  ) => {
    play(policy, timed(history), ({ decision }, { at, before, cost }) => {
      assert.deepStrictEqual(Core.decide(policy, before, cost, at).decision, decision)
      assert.deepStrictEqual(Core.decide(policy, before, cost, at).decision, decision)
    })
  }, runs)

  it.prop("law 7: a state does not see what is decided from the one before it", [policies(algorithms), calls], (
    [policy, history]
  ) => {
    const alone: Array<Decision> = []
    play(policy, timed(history), ({ decision }) => alone.push(decision))
    const beside: Array<Decision> = []
    play(policy, timed(history), ({ decision }, { at, before }) => {
      beside.push(decision)
      // Of another cost, so that it can be told from what was decided
      for (const cost of [1, 2]) Core.decide(policy, before, cost, at)
    })
    assert.deepStrictEqual(beside, alone)
  }, runs)

  it.prop("law 10: a cost that is not a whole positive number never passes", [
    policies(algorithms),
    calls
  ], ([policy, history]) => {
    play(policy, timed(history), (_, { at, before }) => {
      for (const cost of [0, -0, -1, -7, 0.5, 1.5, Number.NaN, Infinity, -Infinity, 2 ** 53]) {
        const { decision, state } = Core.decide(policy, before, cost, at)
        assert.strictEqual(decision._tag, "Impossible")
        assert.strictEqual(state, before)
      }
    })
  }, runs)

  it.prop("law 9: a state that was not changed for its time to forget is as if never used", [
    policies(algorithms),
    calls,
    calls
  ], ([policy, first, second]) => {
    let last: LimitState | undefined
    const entries = timed(first)
    play(policy, entries, ({ state }) => {
      last = state
    })
    let fresh: LimitState | undefined
    for (const { at, cost } of timed(second, (entries.at(-1)?.at ?? 0) + policy.forgetsAfterMillis)) {
      const old = Core.decide(policy, last, cost, at)
      const step = Core.decide(policy, fresh, cost, at)
      assert.deepStrictEqual(old.decision, step.decision)
      last = old.state
      fresh = step.state
    }
  }, runs)

  it.effect("the histories reach every decision often", () =>
    Effect.gen(function*() {
      const samples = yield* Arbitrary.sampleEffect(Arbitrary.all([policies(algorithms), calls]), {
        count: 300,
        size: 40,
        seed: "histories"
      })
      const reached = { Admitted: 0, Refused: 0, Impossible: 0 }
      for (const [policy, history] of samples) {
        play(policy, timed(history), ({ decision }) => {
          reached[decision._tag]++
        })
      }
      assert.isAbove(reached.Admitted, 500)
      assert.isAbove(reached.Refused, 500)
      assert.isAbove(reached.Impossible, 200)
    }))
})
