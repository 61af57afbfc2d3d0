/** Where shared circuits are kept: the port of circuit breakers whose state is that of all replicas together. */
import { Context, Schema } from "effect"
import type { Effect } from "effect"
import type { Totals } from "./circuit/CallWindow.ts"
import type { CircuitSettings } from "./circuit/CircuitSettings.ts"
import type { CircuitEvent, Decision, StateName } from "./circuit/CircuitState.ts"

/** One step of one circuit; `Look` changes nothing and makes no circuit. */
export interface CircuitStep {
  readonly settings: CircuitSettings
  /** The circuit's key; undefined where the breaker has one circuit. */
  readonly key: string | undefined
  readonly event: CircuitEvent | { readonly _tag: "Look" }
}

/** A circuit after a step, as the store sees it. Times are milliseconds of the store's clock. */
export interface CircuitView {
  readonly state: StateName
  /** Zero for a circuit that the store does not know. */
  readonly generation: number
  readonly sinceMillis: number
  /** How long it stays open, if it is. */
  readonly openMillis: number | undefined
  readonly calls: Totals
}

export interface CircuitAnswer {
  readonly decision: Decision | { readonly _tag: "Looked" }
  /** The circuit before the step. */
  readonly before: Pick<CircuitView, "state" | "generation">
  readonly after: CircuitView
}

/** The store gave no usable answer within its own time limit. What was asked may or may not have been done. */
export class CircuitStoreLost extends Schema.TaggedError<CircuitStoreLost>()("CircuitStoreLost", {
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/**
 * Runs the pure automaton atomically, on the store's own clock. Implementations bound how long a step takes and fail with
 * `CircuitStoreLost` after that; a step is one round trip. A circuit that the store forgot begins again, in a generation
 * later than all that were.
 */
export class CircuitStore extends Context.Service<CircuitStore, {
  readonly step: (step: CircuitStep) => Effect.Effect<CircuitAnswer, CircuitStoreLost>
  /** The keys of the breaker's circuits that are known now; some may have been forgotten since. */
  readonly keys: (breaker: string) => Effect.Effect<ReadonlyArray<string>, CircuitStoreLost>
}>()("maas/resilience/CircuitStore") {}
