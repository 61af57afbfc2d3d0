/** What the journal of a saga records. */
import { Schema } from "effect"
import { FirstError, Parking, RecordedError } from "./SagaStatus.ts"

export const StepKind = Schema.Literals(["compensatable", "pivot", "retriable"])
export type StepKind = typeof StepKind.Type

/** Who did by hand what a step should have done; absent for what the saga did itself. */
const by = Schema.optionalKey(Schema.String)

/**
 * Why a step failed: with an error that its schema knows, or with a defect (a mistake of the program, or an output that
 * can't be recorded).
 */
const FailureKind = Schema.Literals(["error", "defect"])

export const SagaEvent = Schema.TaggedUnion({
  /** Written before the action runs, so that a step whose outcome nobody saw is known to have begun. */
  StepStarted: { step: Schema.String, kind: StepKind },
  StepCompleted: { step: Schema.String, kind: StepKind, output: Schema.Json, by },
  /** `unknown`: an attempt may have had its effect all the same, so the step is compensated. */
  StepFailed: {
    step: Schema.String,
    kind: StepKind,
    failure: FailureKind,
    error: RecordedError,
    unknown: Schema.Boolean
  },
  CompensationStarted: { step: Schema.String },
  CompensationCompleted: { step: Schema.String, by },
  /** From here the saga only undoes. */
  TurnedBack: { reason: Schema.Literals(["failed", "cancelled", "deadline"]), first: FirstError },
  Parked: Parking.fields,
  /** An operator lets a parked saga go on. */
  Resumed: { by: Schema.String },
  /** Another process goes on with what the last one left. */
  Recovered: { epoch: Schema.Int },
  Completed: {},
  Compensated: {}
})
export type SagaEvent = typeof SagaEvent.Type

/** An event, when it was written in milliseconds since 1970, and by which owner. */
export const JournalEntry = Schema.Struct({ at: Schema.Finite, epoch: Schema.Int, event: SagaEvent })
export type JournalEntry = typeof JournalEntry.Type
