/** Plays a generated history on the pure automaton and writes down every step. */
import * as Automaton from "../../../src/resilience/circuit/Automaton.ts"
import type { CircuitSettings } from "../../../src/resilience/circuit/CircuitSettings.ts"
import type {
  CircuitEvent,
  CircuitState,
  Decision,
  Permit,
  StateName
} from "../../../src/resilience/circuit/CircuitState.ts"
import { nameOf } from "../../../src/resilience/circuit/CircuitState.ts"
import { actionOf, circuitSettings, modelSettings, waitOf } from "./CircuitHistory.ts"
import type { Action, Happenings, Settings } from "./CircuitHistory.ts"
import { CircuitModel } from "./CircuitModel.ts"
import type { ModelPermit } from "./CircuitModel.ts"

export interface Running {
  readonly permit: Permit
  readonly modelPermit: ModelPermit
  readonly startedAt: number
}

export interface TraceStep {
  readonly now: number
  readonly event: CircuitEvent
  readonly before: CircuitState
  readonly after: CircuitState
  readonly decision: Decision
  /** Calls that run after this step. */
  readonly running: ReadonlyArray<Running>
  readonly model: { readonly name: StateName; readonly generation: number; readonly rejected: boolean }
}

export interface Trace {
  readonly settings: CircuitSettings
  readonly steps: ReadonlyArray<TraceStep>
}

const eventOf = (action: Action, call: Running | undefined, now: number): CircuitEvent | undefined => {
  switch (action._tag) {
    case "Admit":
    case "Force":
    case "Reset":
      return action
    case "Settle":
      return call === undefined
        ? undefined
        : { _tag: "Settle", permit: call.permit, outcome: action.outcome, tookMillis: now - call.startedAt }
    case "Wait":
      return undefined
  }
}

export const play = (generated: typeof Settings.Type, happenings: typeof Happenings.Type, start = 1_000): Trace => {
  const ofModel = modelSettings(generated)
  const settings = circuitSettings(ofModel)
  let now = start
  let state: CircuitState = Automaton.initial(settings, now)
  const model = new CircuitModel(ofModel, now)
  let running: ReadonlyArray<Running> = []
  const steps: Array<TraceStep> = []
  for (const action of happenings.map(actionOf)) {
    if (action._tag === "Wait") {
      now += waitOf(ofModel, action.pick)
      continue
    }
    const call = action._tag === "Settle" ? running[action.pick % Math.max(1, running.length)] : undefined
    const event = eventOf(action, call, now)
    if (event === undefined) continue
    const before = state
    const step = Automaton.step(settings, before, event, now)
    state = step.state
    let rejected = false
    switch (event._tag) {
      case "Admit": {
        const modelPermit = model.admit(now)
        rejected = modelPermit === "rejected"
        if (step.decision._tag === "Admitted" && modelPermit !== "rejected") {
          running = [...running, { permit: step.decision.permit, modelPermit, startedAt: now }]
        }
        break
      }
      case "Settle": {
        if (call !== undefined) model.settle(call.modelPermit, event.outcome, event.tookMillis, now)
        running = running.filter((one) => one !== call)
        break
      }
      case "Force":
        model.force(event.mode, now)
        break
      case "Reset":
        model.reset(now)
        break
    }
    steps.push({
      now,
      event,
      before,
      after: state,
      decision: step.decision,
      running,
      model: { name: model.name, generation: model.generation, rejected }
    })
  }
  return { settings, steps }
}

/** A step that moved the circuit to another state. */
export const isTransition = ({ after, before }: TraceStep): boolean => after.generation !== before.generation

export const edgeOf = ({ after, before }: TraceStep): string => `${nameOf(before)} → ${nameOf(after)}`
