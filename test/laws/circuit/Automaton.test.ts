import { assert, describe, it } from "@effect/vitest"
import * as Automaton from "../../../src/resilience/circuit/Automaton.ts"
import { nameOf } from "../../../src/resilience/circuit/CircuitState.ts"
import { Happenings, Settings } from "./CircuitHistory.ts"
import { edgeOf, isTransition, play } from "./CircuitTrace.ts"
import type { Trace } from "./CircuitTrace.ts"

const cases = { arbitrary: { runs: 1_000 } }

const law = (name: string, holds: (trace: Trace) => void) =>
  it.prop(name, [Settings, Happenings], ([settings, happenings]) => holds(play(settings, happenings)), cases)

const calls = new Set(["Closed → Open", "Open → HalfOpen", "HalfOpen → Open", "HalfOpen → Closed"])

describe("the circuit's automaton", () => {
  const seen = new Map<string, number>()

  law("law 16: it decides as the reference does, step by step", ({ steps }) => {
    for (const { after, decision, event, model } of steps) {
      assert.deepStrictEqual(
        [nameOf(after), after.generation, decision._tag === "Rejected"],
        [model.name, model.generation, event._tag === "Admit" && model.rejected]
      )
    }
  })

  law("law 16: calls take only the legal edges, and each makes a new generation", ({ steps }) => {
    for (const step of steps) {
      const { after, before, event } = step
      if (nameOf(after) !== nameOf(before)) assert.strictEqual(after.generation, before.generation + 1)
      if (!isTransition(step)) continue
      const edge = edgeOf(step)
      seen.set(edge, (seen.get(edge) ?? 0) + 1)
      assert.strictEqual(after.since, step.now)
      if (event._tag === "Force") assert.strictEqual(nameOf(after), event.mode)
      else if (event._tag === "Reset") assert.strictEqual(after._tag, "Closed")
      else assert.isTrue(calls.has(edge), edge)
    }
  })

  it("law 16: the generated histories take every edge, so the laws are not kept for want of a case", () => {
    // The rarest is taken some 70 times: often enough that chance alone does not fail this.
    for (const edge of calls) assert.isAbove(seen.get(edge) ?? 0, 10, edge)
    for (const mode of ["ForcedOpen", "ForcedClosed", "Disabled", "MetricsOnly"]) {
      assert.isAbove(seen.get(`${mode} → Closed`) ?? 0, 0, mode)
    }
  })

  law("law 17: it opens at an outcome exactly when the reference's full history reaches a threshold", ({ steps }) => {
    for (const step of steps) {
      if (step.before._tag !== "Closed" || step.event._tag !== "Settle") continue
      assert.strictEqual(step.after._tag === "Open", step.model.name === "Open")
    }
  })

  law("law 18: while open every call before its time is rejected, and a rejection changes nothing", ({ steps }) => {
    for (const { after, before, decision, event, now } of steps) {
      if (event._tag !== "Admit") continue
      if (before._tag === "Open" && now < before.until) {
        assert.deepStrictEqual(decision, { _tag: "Rejected", retryAfterMillis: before.until - now })
      }
      if (before._tag === "Open" && now >= before.until) assert.strictEqual(decision._tag, "Admitted")
      if (decision._tag === "Rejected") assert.strictEqual(after, before)
    }
  })

  law("law 18: after retryAfter a call is admitted, a millisecond earlier it is not", ({ settings, steps }) => {
    for (const { after, decision, now } of steps) {
      if (decision._tag !== "Rejected" || decision.retryAfterMillis === undefined) continue
      const at = now + decision.retryAfterMillis
      assert.strictEqual(Automaton.admit(settings, after, at).decision._tag, "Admitted")
      assert.strictEqual(Automaton.admit(settings, after, at - 1).decision._tag, "Rejected")
    }
  })

  law("law 19: at most N probes hold a place at once", ({ settings, steps }) => {
    for (const { after, now, running } of steps) {
      if (after._tag !== "HalfOpen") continue
      assert.isAtMost(after.leases.length, settings.probes)
      const probing = running.filter(({ permit, startedAt }) =>
        permit.generation === after.generation && now < startedAt + settings.leaseMillis
      )
      assert.isAtMost(probing.length, settings.probes)
    }
  })

  law("law 20: an outcome of an older generation changes nothing", ({ steps }) => {
    for (const { after, before, decision, event } of steps) {
      if (event._tag !== "Settle") continue
      assert.strictEqual(decision._tag === "Late", event.permit.generation !== before.generation)
      if (decision._tag === "Late") assert.strictEqual(after, before)
    }
  })

  law(
    "law 21: whatever happened, within a lease after the open time a call is admitted again",
    ({ settings, steps }) => {
      for (const { after, now } of steps) {
        if (after._tag === "Forced") continue
        const patience = after._tag === "Open" ? after.until - now : settings.leaseMillis
        assert.strictEqual(Automaton.admit(settings, after, now + patience).decision._tag, "Admitted")
      }
    }
  )

  law("law 21: a probe that was ignored or interrupted has given its place back", ({ settings, steps }) => {
    for (const { after, before, event, now } of steps) {
      if (event._tag !== "Settle" || before._tag !== "HalfOpen" || after._tag !== "HalfOpen") continue
      if (event.permit.generation !== before.generation) continue
      assert.isFalse(after.leases.some(({ probe }) => probe === event.permit.probe))
      // A probe that outlived its lease had no place any more.
      const held = before.leases.some(({ probe, until }) => probe === event.permit.probe && now < until)
      if (!held) continue
      assert.strictEqual(Automaton.admit(settings, after, now).decision._tag, "Admitted")
    }
  })

  law("law 23: a slow call counts as slow whatever it returned", ({ settings, steps }) => {
    for (const { after, before, event, now } of steps) {
      if (event._tag !== "Settle" || event.tookMillis < settings.slowAfterMillis) continue
      if (event.permit.generation !== before.generation) continue
      const asSuccess = Automaton.settle(settings, before, event.permit, "Success", event.tookMillis, now)
      const asFailure = Automaton.settle(settings, before, event.permit, "Failure", event.tookMillis, now)
      if (event.outcome !== "Success" && event.outcome !== "Failure") continue
      if (before._tag === "HalfOpen") {
        assert.strictEqual(after._tag, "Open")
        continue
      }
      const slowOf = (state: typeof after) =>
        state._tag === "Closed" && "slow" in state.window
          ? state.window._tag === "TimeWindow" ? state.window.slow + state.window.current.slow : state.window.slow
          : undefined
      if (asSuccess._tag === "Closed" && asFailure._tag === "Closed") {
        assert.strictEqual(slowOf(asSuccess), slowOf(asFailure))
      }
      // With slow calls alone to trip it, what a call returned makes no difference at all.
      if (settings.failureRate === Infinity) assert.strictEqual(asSuccess._tag, asFailure._tag)
    }
  })

  law("law 24: a forced state stays whatever its calls do, and decides all of them", ({ steps }) => {
    for (const { after, before, decision, event } of steps) {
      if (before._tag !== "Forced") continue
      if (event._tag === "Admit") {
        assert.strictEqual(decision._tag, before.mode === "ForcedOpen" ? "Rejected" : "Admitted")
      }
      if (event._tag === "Admit" || event._tag === "Settle") {
        assert.deepStrictEqual([nameOf(after), after.generation], [nameOf(before), before.generation])
      }
    }
  })

  law("law 24: leaving a forced state starts a fresh closed generation", ({ settings, steps }) => {
    for (const { after, before, event, now } of steps) {
      if (event._tag !== "Reset") continue
      const fresh = Automaton.initial(settings, now)
      const { generation } = after
      assert.strictEqual(generation, before.generation + 1)
      assert.deepStrictEqual<unknown>(after, { ...fresh, generation, permit: { generation, probe: 0 } })
    }
  })

  law("law 25: the open time starts at its base, grows to its cap only, and resets after a stable time", (trace) => {
    const { settings, steps } = trace
    let last: number | undefined
    for (const { after, before, event, now } of steps) {
      if (event._tag === "Force" || event._tag === "Reset") last = undefined
      if (after._tag !== "Open" || after.generation === before.generation) continue
      const time = after.until - now
      assert.isAtMost(time, settings.maxOpenMillis)
      const isStable = before._tag === "Closed" && now - before.since >= settings.stableMillis
      if (last === undefined || isStable) assert.strictEqual(time, settings.openMillis)
      else {
        assert.isAtLeast(time, last)
        assert.isAtMost(time, Math.ceil(last * settings.growth))
        if (last < settings.maxOpenMillis && settings.growth > 1) assert.isAbove(time, last)
      }
      last = time
    }
  })
})
