import type { CallWindow } from "./CallWindow.ts"

/** How an operator holds a circuit, whatever its calls do. */
export type ForcedMode =
  /** Every call is rejected. */
  | "ForcedOpen"
  /** Every call runs and none counts in the window; the metrics still count them all. */
  | "ForcedClosed"
  /** As if there were no breaker: every call runs, and nothing is recorded, in the metrics neither. */
  | "Disabled"
  /** Every call runs and counts in the window, but the circuit never opens. */
  | "MetricsOnly"

/** A lawful call in a circuit: what its outcome is settled with. Circuits never accept one of an older generation. */
export interface Permit {
  readonly generation: number
  /** The place of a half-open probe; 0 for every other call. */
  readonly probe: number
}

/** Each change of state starts a new generation, by which results of older calls are known. */
interface Generation {
  readonly generation: number
  /** When this state began, in milliseconds. */
  readonly since: number
}

export interface Closed extends Generation {
  readonly _tag: "Closed"
  readonly permit: Permit
  /** Openings since the last stable closed period. */
  readonly openings: number
  readonly window: CallWindow
}

export interface Open extends Generation {
  readonly _tag: "Open"
  readonly until: number
  readonly openings: number
}

/** A probe's place, taken until it ends or `until` passes. */
export interface Lease {
  readonly probe: number
  readonly until: number
}

export interface HalfOpen extends Generation {
  readonly _tag: "HalfOpen"
  readonly openings: number
  readonly leases: ReadonlyArray<Lease>
  readonly nextProbe: number
  readonly successes: number
}

export interface Forced extends Generation {
  readonly _tag: "Forced"
  readonly mode: ForcedMode
  readonly permit: Permit
  readonly window: CallWindow
}

export type CircuitState = Closed | Open | HalfOpen | Forced

/** A state's name, as operators see it. */
export type StateName = "Closed" | "Open" | "HalfOpen" | ForcedMode

export const nameOf = (state: CircuitState): StateName => state._tag === "Forced" ? state.mode : state._tag

/** How a call ended, in the circuit's eyes. */
export type Outcome =
  | "Success"
  | "Failure"
  /** The caller's own fault, or a refusal by another policy: it tells nothing of what is protected. */
  | "Ignored"
  /** Ended from outside before it could tell anything. */
  | "Interrupted"

export type CircuitEvent =
  | { readonly _tag: "Admit" }
  | { readonly _tag: "Settle"; readonly permit: Permit; readonly outcome: Outcome; readonly tookMillis: number }
  | { readonly _tag: "Force"; readonly mode: ForcedMode }
  /** Closes the circuit and forgets what it knew, from a forced state too. */
  | { readonly _tag: "Reset" }

export type Admission =
  | { readonly _tag: "Admitted"; readonly permit: Permit }
  /** `retryAfterMillis` is undefined while an operator holds the circuit open. */
  | { readonly _tag: "Rejected"; readonly retryAfterMillis: number | undefined }

export type Decision =
  | Admission
  /** The outcome was taken into account. */
  | { readonly _tag: "Settled" }
  /** The outcome belongs to an older generation and changed nothing. */
  | { readonly _tag: "Late" }
  | { readonly _tag: "Changed" }

/** What the automaton answers: the next state, and what to do. */
export interface Step<D = Decision> {
  readonly state: CircuitState
  readonly decision: D
}
