/** What happens to a state that the ordinary course of calls does not bring: other clocks, other limits, other costs. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import type { Admitted } from "../../../src/resilience/ratelimit/Decision.ts"
import { changeLaws } from "./ChangeLaws.ts"
import { algorithms, between, Call, calls, policies, runs, timed } from "./Histories.ts"
import { ofCore } from "./Player.ts"
import type { Entry } from "./Reference.ts"
import * as Reference from "./Reference.ts"

const list = <A>(item: Schema.Schema<A>, maxLength: number) =>
  Arbitrary.array(Arbitrary.schema(item), { minLength: 1, maxLength })

changeLaws("other clocks and other limits", ofCore)

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
    let state: LimitState | undefined
    for (const { at, cost } of entries) state = Core.decide(policy, state, cost, at).state
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
