/** Where a saga stands, as lists and operators see it. */
import { Schema } from "effect"

export const SagaState = Schema.Literals(["running", "compensating", "completed", "compensated", "parked"])
export type SagaState = typeof SagaState.Type

/** Whether a saga may still turn back: not once it has passed its pivot, and not again once it has turned. */
export const Direction = Schema.Literals(["forward", "committed", "backward"])
export type Direction = typeof Direction.Type

/** An error as the journal keeps it: `value` is its encoding by the schema of the step, where it has one. */
export const RecordedError = Schema.Struct({
  tag: Schema.String,
  message: Schema.String,
  value: Schema.optionalKey(Schema.Json)
})
export type RecordedError = typeof RecordedError.Type

/** The first error of a saga stays what it is, whatever else fails afterwards. `step` is null for one of no step. */
export const FirstError = Schema.Struct({ step: Schema.NullOr(Schema.String), error: RecordedError })
export type FirstError = typeof FirstError.Type

export const ParkReason = Schema.Literals([
  "step-failed",
  "compensation-failed",
  "outcome-unknown",
  "definition-missing",
  "definition-changed",
  "journal-unreadable",
  "recoveries-exhausted",
  "history-too-long",
  "output-too-large",
  "internal-defect"
])
export type ParkReason = typeof ParkReason.Type

/** Why a saga stands still. */
export const Parking = Schema.Struct({
  reason: ParkReason,
  step: Schema.NullOr(Schema.String),
  error: Schema.NullOr(RecordedError)
})
export type Parking = typeof Parking.Type

const advices: Readonly<Record<ParkReason, string>> = {
  "step-failed":
    "The saga has passed its pivot, so it can only go on. Repair what the step needs, then retry; or do the step's work by hand and resolve it with its output.",
  "compensation-failed":
    "Repair what the compensation needs, then retry; or undo the step's work by hand and resolve it.",
  "outcome-unknown":
    "Find out by the step's idempotency key whether the pivot took effect. If it did, resolve it with its output; if not, retry.",
  "definition-missing": "Run a process that has this version of the saga, then retry.",
  "definition-changed":
    "The steps were changed without a new version, and no longer fit what is recorded. Run a process that has the former steps, then retry.",
  "journal-unreadable": "Repair the named entry of the journal, then retry.",
  "recoveries-exhausted": "Processes keep dying over this saga. Find out why, then retry.",
  "internal-defect": "The interpreter itself failed: the log has the defect. Once it is repaired, retry.",
  "history-too-long": "The saga repeats its steps without end. Run a version that ends, then retry; or cancel it.",
  "output-too-large":
    "The step returned more than may be recorded of it. Raise the limit (maxOutputBytes), then retry; or resolve it with a smaller output, such as the key under which the rest is stored."
}

/** What an operator can do about a parked saga, in plain words. */
export const adviceFor = (reason: ParkReason): string => advices[reason]

export interface SagaStatus {
  readonly state: SagaState
  readonly direction: Direction
  readonly firstError: FirstError | null
  readonly parking: Parking | null
}

export const started: SagaStatus = { state: "running", direction: "forward", firstError: null, parking: null }

/** Somebody is to run it. */
export const isActive = (state: SagaState): boolean => state === "running" || state === "compensating"

export const isEnded = (state: SagaState): boolean => state === "completed" || state === "compensated"
