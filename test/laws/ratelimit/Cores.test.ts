import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect } from "effect"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { algorithms, between, buckets, calls, policies, policyOf, runs, timed } from "./Histories.ts"
import * as Reference from "./Reference.ts"
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

const total = (entries: ReadonlyArray<Entry>) => entries.reduce((all, { cost }) => all + cost, 0)

/** Every interval that begins and ends with an admission: the only ones that can be the worst. */
const intervals = (admitted: ReadonlyArray<Entry>) =>
  admitted.flatMap((first, from) =>
    admitted.slice(from).map((last, length) => ({
      millis: last.at - first.at,
      cost: total(admitted.slice(from, from + length + 1))
    }))
  )

describe("pure cores", () => {
  it.prop("law 1: buckets admit at most burst + rate · time in every interval", [policies(buckets), calls], (
    [policy, history]
  ) => {
    for (const { cost, millis } of intervals(play(policy, timed(history)))) {
      assert.isAtMost(cost * policy.windowMillis, policy.capacity * policy.windowMillis + policy.limit * millis)
    }
  }, runs)

  it.prop("law 2: GCRA and the token bucket decide alike, call by call", [policies(buckets), calls], (
    [policy, history]
  ) => {
    const options = { limit: policy.limit, window: policy.windowMillis, burst: policy.capacity }
    const decisionsOf = (algorithm: "token-bucket" | "leaky-bucket") => {
      const decisions: Array<unknown> = []
      play(policyOf({ ...options, algorithm }), timed(history), ({ decision }) => decisions.push(decision))
      return decisions
    }
    assert.deepStrictEqual(decisionsOf("token-bucket"), decisionsOf("leaky-bucket"))
  }, runs)

  it.prop("law 3: every sliding window admits at most the limit", [policies(["sliding-window"]), calls], (
    [policy, history]
  ) => {
    for (const { cost, millis } of intervals(play(policy, timed(history)))) {
      if (millis < policy.windowMillis) assert.isAtMost(cost, policy.limit)
    }
  }, runs)

  it.prop("law 4: aligned windows admit at most the limit, any window twice that", [
    policies(["fixed-window"]),
    calls
  ], ([policy, history]) => {
    const admitted = play(policy, timed(history))
    const windows = Map.groupBy(admitted, ({ at }) => Math.floor(at / policy.windowMillis))
    for (const window of windows.values()) assert.isAtMost(total(window), policy.limit)
    for (const { cost, millis } of intervals(admitted)) {
      if (millis < policy.windowMillis) assert.isAtMost(cost, 2 * policy.limit)
    }
  }, runs)

  it.prop("law 5: a call is refused only when admitting it would break the bound", [policies(algorithms), calls], (
    [policy, history]
  ) => {
    play(policy, timed(history), ({ decision }, { at, cost, history }) => {
      if (decision._tag === "Impossible") assert.isAbove(cost, policy.capacity)
      else assert.strictEqual(decision._tag === "Admitted", Reference.fits(policy, history, cost, at))
    })
  }, runs)

  it.prop("law 6: retryAfter is enough and tight", [policies(algorithms), calls], ([policy, history]) => {
    play(policy, timed(history), ({ decision, state }, { at, cost, history }) => {
      if (decision._tag !== "Refused") return
      const { retryAfterMillis } = decision
      assert.strictEqual(retryAfterMillis, Reference.shortestWait(policy, history, cost, at))
      assert.strictEqual(Core.decide(policy, state, cost, at + retryAfterMillis).decision._tag, "Admitted")
      assert.strictEqual(Core.decide(policy, state, cost, at + retryAfterMillis - 1).decision._tag, "Refused")
    })
  }, runs)

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

  it.prop("law 15: 0 <= remaining <= quota and reset are as the history says", [policies(algorithms), calls], (
    [policy, history]
  ) => {
    play(policy, timed(history), ({ decision, state }, { at, cost, history }) => {
      if (decision._tag === "Impossible") return
      const now = decision._tag === "Admitted" ? [...history, { at, cost }] : history
      const remaining = Reference.most(policy, now, at)
      assert.isAtLeast(remaining, 0)
      assert.isAtMost(remaining, policy.capacity)
      assert.strictEqual(decision.remaining, remaining)
      assert.deepStrictEqual(Core.inspect(policy, state, at), {
        remaining,
        resetMillis: decision.resetMillis
      })
      assert.strictEqual(decision.resetMillis, Reference.shortestWait(policy, now, policy.capacity, at))
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

  it("counts exactly at the largest numbers a policy may have", () => {
    for (const algorithm of algorithms) {
      const policy = policyOf({ algorithm, limit: 130_000, window: "366 days" })
      const now = 4_102_444_800_123
      const first = Core.decide(policy, undefined, 129_999, now)
      const second = Core.decide(policy, first.state, 1, now)
      assert.strictEqual(second.decision._tag, "Admitted")
      const third = Core.decide(policy, second.state, 1, now)
      assert(third.decision._tag === "Refused")
      const { retryAfterMillis } = third.decision
      assert.strictEqual(Core.decide(policy, second.state, 1, now + retryAfterMillis).decision._tag, "Admitted")
      assert.strictEqual(Core.decide(policy, second.state, 1, now + retryAfterMillis - 1).decision._tag, "Refused")
    }
  })

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
