/** What happens to a state that the ordinary course of calls does not bring: other clocks, other limits, other costs. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import type { Admitted } from "../../../src/resilience/ratelimit/Decision.ts"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { algorithms, between, Call, calls, policies, runs, timed } from "./Histories.ts"
import type { Entry } from "./Reference.ts"
import * as Reference from "./Reference.ts"

const list = <A>(item: Schema.Schema<A>, maxLength: number) =>
  Arbitrary.array(Arbitrary.schema(item), { minLength: 1, maxLength })

const isBucket = ({ algorithm }: RateLimitPolicy) => algorithm === "token-bucket" || algorithm === "leaky-bucket"

/** What may pass in `millis` of time, whatever the state before. */
const bound = (policy: RateLimitPolicy, millis: number): number => {
  if (isBucket(policy)) return policy.capacity + policy.limit * millis / policy.windowMillis
  const windows = Math.floor(millis / policy.windowMillis) + 1
  return policy.limit * (policy.algorithm === "fixed-window" ? windows + 1 : windows)
}

/** Calls whose clock is `skew` milliseconds off. */
const skewed = (entries: ReadonlyArray<Entry>, skews: ReadonlyArray<number>): ReadonlyArray<Entry> =>
  entries.map(({ at, cost }, index) => ({ at: at + (skews[index % skews.length] ?? 0), cost }))

const play = (policy: RateLimitPolicy, entries: ReadonlyArray<Entry>) => {
  let state: LimitState | undefined
  const admitted: Array<Entry & { readonly index: number }> = []
  entries.forEach(({ at, cost }, index) => {
    const step = Core.decide(policy, state, cost, at)
    state = step.state
    if (step.decision._tag === "Admitted") admitted.push({ at, cost, index })
  })
  return { state, admitted }
}

describe("another clock", () => {
  it.prop(
    "law 11: clocks that differ by up to a window admit no more than the clock that is ahead of what was admitted",
    [
      policies(algorithms),
      calls,
      list(between(0, 100), 5)
    ],
    ([policy, history, skews]) => {
      const entries = skewed(timed(history), skews.map((skew) => -Math.min(skew, policy.windowMillis)))
      const { admitted } = play(policy, entries)
      let latest = Number.NEGATIVE_INFINITY
      const highest = new Map(admitted.map(({ at, index }) => [index, latest = Math.max(latest, at)]))
      admitted.forEach((first, from) => {
        let cost = 0
        for (const last of admitted.slice(from)) {
          cost += last.cost
          assert.isAtMost(cost, bound(policy, (highest.get(last.index) ?? 0) - (highest.get(first.index) ?? 0)))
        }
      })
    },
    runs
  )

  it.prop("law 11: a clock set back and forth by any step admits no more than its way forward allows", [
    policies(algorithms),
    calls,
    list(between(-1_000, 1_000), 5)
  ], ([policy, history, skews]) => {
    const entries = skewed(timed(history, 5_000), skews)
    let forward = 0
    const way = entries.map(({ at }, index) => forward += Math.max(0, at - (entries[index - 1]?.at ?? at)))
    const { admitted } = play(policy, entries)
    admitted.forEach((first, from) => {
      let cost = 0
      for (const last of admitted.slice(from)) {
        cost += last.cost
        assert.isAtMost(cost, bound(policy, (way[last.index] ?? 0) - (way[first.index] ?? 0)))
      }
    })
  }, runs)

  it.prop("law 11: however far a clock is set back, nobody waits longer than a window for it", [
    policies(algorithms),
    calls,
    between(1, 100_000),
    between(1, 12)
  ], ([policy, history, step, cost]) => {
    const entries = timed(history, 200_000)
    const { state } = play(policy, entries)
    const now = (entries.at(-1)?.at ?? 0) - step
    const wanted = Math.min(cost, policy.capacity)
    const first = Core.decide(policy, state, wanted, now)
    if (first.decision._tag !== "Refused") return
    const { retryAfterMillis } = first.decision
    assert.isAtMost(retryAfterMillis, policy.windowMillis + policy.refillMillis)
    assert.strictEqual(Core.decide(policy, first.state, wanted, now + retryAfterMillis).decision._tag, "Admitted")
    assert.strictEqual(Core.decide(policy, first.state, wanted, now + retryAfterMillis - 1).decision._tag, "Refused")
  }, runs)
})

describe("another limit", () => {
  it.prop("law 14: a change of limit, window, burst or algorithm admits at most the old and the new bound", [
    policies(algorithms),
    policies(algorithms),
    calls,
    calls
  ], ([old, changed, before, after]) => {
    const first = timed(before)
    const second = timed(after, first.at(-1)?.at)
    let state: LimitState | undefined
    const admitted: Array<Entry & { readonly policy: RateLimitPolicy }> = []
    const run = (policy: RateLimitPolicy, entries: ReadonlyArray<Entry>) => {
      for (const entry of entries) {
        const step = Core.decide(policy, state, entry.cost, entry.at)
        state = step.state
        if (step.decision._tag === "Admitted") admitted.push({ ...entry, policy })
      }
    }
    run(old, first)
    run(changed, second)
    admitted.forEach(({ at: from }, index) => {
      let cost = 0
      for (const last of admitted.slice(index)) {
        cost += last.cost
        assert.isAtMost(cost, bound(old, last.at - from) + bound(changed, last.at - from))
      }
    })
  }, runs)

  it.prop("law 14: going back and forth within a millisecond admits no more than the larger policy alone", [
    policies(algorithms),
    policies(algorithms),
    list(Schema.Struct({ isOld: Schema.Boolean, cost: between(1, 4) }), 60)
  ], ([old, changed, turns]) => {
    let state: LimitState | undefined
    let taken = 0
    for (const { cost, isOld } of turns) {
      const step = Core.decide(isOld ? old : changed, state, cost, 1_000)
      state = step.state
      if (step.decision._tag === "Admitted") taken += cost
    }
    assert.isAtMost(taken, Math.max(old.capacity, changed.capacity))
  }, runs)

  it.prop("law 14: after a change the wait that is told is enough", [
    policies(algorithms),
    policies(algorithms),
    calls,
    between(1, 12)
  ], ([old, changed, history, cost]) => {
    const entries = timed(history)
    const { state } = play(old, entries)
    const now = entries.at(-1)?.at ?? 0
    const wanted = Math.min(cost, changed.capacity)
    const first = Core.decide(changed, state, wanted, now)
    if (first.decision._tag !== "Refused") return
    const later = now + first.decision.retryAfterMillis
    assert.strictEqual(Core.decide(changed, first.state, wanted, later).decision._tag, "Admitted")
    // Also for a store that keeps what a refusal leaves as it was
    assert.strictEqual(Core.decide(changed, first.state, wanted, later - 1).decision._tag, "Refused")
  }, runs)
})

const Reserved = Schema.Struct({ ...Call.fields, actual: between(0, 8), after: Schema.Literals([0, 1, 3, 9, 30, 90]) })

describe("settling", () => {
  it.prop("a cost settled down counts as if only the rest had been taken, never as less", [
    policies(algorithms),
    list(Reserved, 30)
  ], ([policy, history]) => {
    let state: LimitState | undefined
    let now = 1_000
    const net: Array<Entry> = []
    for (const { actual, after, cost, gap } of history) {
      now += gap
      const step = Core.decide(policy, state, cost, now)
      state = step.state
      if (step.decision._tag !== "Admitted") continue
      const charged = Math.min(actual, cost)
      net.push({ at: now, cost: charged })
      now += after
      state = Core.settle(policy, state, step.decision, charged - cost, now)
      const left = Core.inspect(policy, state, now).remaining
      assert.isAtMost(left, Reference.most(policy, net, now))
    }
  }, runs)

  it.prop("a cost settled at once to nothing leaves what was there before", [
    policies(algorithms),
    calls,
    between(1, 12)
  ], (
    [policy, history, cost]
  ) => {
    const entries = timed(history)
    const { state } = play(policy, entries)
    const now = entries.at(-1)?.at ?? 0
    const wanted = Math.min(cost, policy.capacity)
    const { decision, state: taken } = Core.decide(policy, state, wanted, now)
    if (decision._tag !== "Admitted") return
    const back = Core.settle(policy, taken, decision, -wanted, now)
    for (const later of [0, 1, 5, 20, 90]) {
      assert.strictEqual(
        Core.inspect(policy, back, now + later).remaining,
        Core.inspect(policy, state, now + later).remaining
      )
    }
  }, runs)

  it.prop("what stopped counting is not given back", [policies(algorithms), between(1, 12)], ([policy, cost]) => {
    const wanted = Math.min(cost, policy.capacity)
    const first = Core.decide(policy, undefined, wanted, 1_000)
    assert(first.decision._tag === "Admitted")
    const later = 1_000 + policy.forgetsAfterMillis
    const full = Core.decide(policy, first.state, policy.capacity, later)
    assert.strictEqual(full.decision._tag, "Admitted")
    const settled = Core.settle(policy, full.state, first.decision, -wanted, later)
    assert.strictEqual(Core.inspect(policy, settled, later).remaining, 0)
  }, runs)

  it.prop("a cost settled up is owed, and never longer than twice the time to refill", [
    policies(algorithms),
    between(1, 1_000)
  ], ([policy, more]) => {
    const first = Core.decide(policy, undefined, 1, 1_000)
    const charge: Admitted | undefined = first.decision._tag === "Admitted" ? first.decision : undefined
    assert.isDefined(charge)
    if (charge === undefined) return
    const state = Core.settle(policy, first.state, charge, more, 1_000)
    assert.strictEqual(Core.inspect(policy, state, 1_000).remaining, Math.max(0, policy.capacity - 1 - more))
    const next = Core.decide(policy, state, 1, 1_000)
    if (more + 1 >= policy.capacity) assert.strictEqual(next.decision._tag, "Refused")
    const later = 1_000 + policy.forgetsAfterMillis
    assert.strictEqual(Core.decide(policy, state, policy.capacity, later).decision._tag, "Admitted")
  }, runs)
})
