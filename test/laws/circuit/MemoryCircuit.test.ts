import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as CircuitCounters from "../../../src/resilience/circuit/CircuitCounters.ts"
import { nameOf } from "../../../src/resilience/circuit/CircuitState.ts"
import { MemoryCircuit } from "../../../src/resilience/circuit/MemoryCircuit.ts"
import type { Transition } from "../../../src/resilience/circuit/MemoryCircuit.ts"
import { actionOf, circuitSettings, Happenings, modelSettings, Settings, waitOf } from "./CircuitHistory.ts"
import { CircuitModel } from "./CircuitModel.ts"
import type { Running } from "./CircuitTrace.ts"

const Steps = Schema.Array(Schema.Literals([0, 0, 0, 0, -1, -50, -10_000, -86_400_000]))
  .check(Schema.isMinLength(120), Schema.isMaxLength(120))

describe("the circuit's store in memory", () => {
  it.prop(
    "law 16, law 22, law 46: it decides as the reference does while its clock is set back at will; its counters and " +
      "transitions tell what happened",
    [Settings, Happenings, Steps],
    ([generated, happenings, steps]) => {
      const ofModel = modelSettings(generated)
      let elapsed = 100_000_000
      let setBack = 0
      const clock = { currentTimeMillisUnsafe: () => elapsed + setBack }
      const counters = CircuitCounters.zero()
      const transitions: Array<Transition> = []
      const circuit = new MemoryCircuit(
        circuitSettings(ofModel),
        "key",
        counters,
        (transition) => transitions.push(transition),
        elapsed
      )
      const model = new CircuitModel(ofModel, elapsed)
      let running: ReadonlyArray<Running> = []
      let [calls, ended, late] = [0, 0, 0]
      for (const [n, action] of happenings.map(actionOf).entries()) {
        // A step between two readings hides the time that passed since the first, so the clock is read before it too.
        circuit.now(clock)
        setBack += steps[n] ?? 0
        const now = circuit.now(clock)
        assert.strictEqual(now, elapsed)
        switch (action._tag) {
          case "Wait":
            elapsed += waitOf(ofModel, action.pick)
            break
          case "Admit": {
            calls++
            const admission = circuit.admit(now)
            const modelPermit = model.admit(now)
            assert.strictEqual(admission._tag === "Rejected", modelPermit === "rejected")
            if (admission._tag === "Admitted" && modelPermit !== "rejected") {
              running = [...running, { permit: admission.permit, modelPermit, startedAt: now }]
            }
            break
          }
          case "Settle": {
            const call = running[action.pick % Math.max(1, running.length)]
            if (call === undefined) break
            ended++
            if (call.modelPermit.generation !== model.generation) late++
            if (action.outcome !== "Success" || !circuit.settleSteady(call.permit)) {
              circuit.settle(call.permit, action.outcome, call.startedAt, now)
            }
            model.settle(call.modelPermit, action.outcome, now - call.startedAt, now)
            running = running.filter((one) => one !== call)
            break
          }
          case "Force":
            circuit.force(action.mode, now)
            model.force(action.mode, now)
            break
          case "Reset":
            circuit.reset(now)
            model.reset(now)
            break
        }
        assert.deepStrictEqual([nameOf(circuit.state), circuit.state.generation], [model.name, model.generation])
      }
      const { failed, ignored, interrupted, permits, rejected, succeeded } = counters
      assert.strictEqual(succeeded + failed + ignored + interrupted, ended)
      assert.strictEqual(counters.late, late)
      assert.strictEqual(permits, ended + running.length)
      assert.strictEqual(permits + rejected, calls)
      // The transitions form one chain, from a new circuit to the state it has now.
      let [name, generation] = ["Closed", 1]
      for (const transition of transitions) {
        assert.strictEqual(transition.from, name)
        assert.strictEqual(transition.generation, ++generation)
        name = transition.to
      }
      assert.deepStrictEqual([name, generation], [model.name, model.generation])
    },
    { arbitrary: { runs: 1_000 } }
  )
})
