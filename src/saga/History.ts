/** What the entries of a journal amount to: a pure fold, the same for whoever reads them. */
import type { Schema } from "effect"
import type { JournalEntry, SagaEvent, StepKind } from "./SagaEvent.ts"
import type { Parking, RecordedError } from "./SagaStatus.ts"

export type StepOutcome =
  | { readonly _tag: "Completed"; readonly output: Schema.Json }
  | {
    readonly _tag: "Failed"
    readonly failure: "error" | "defect"
    readonly error: RecordedError
    readonly unknown: boolean
  }

export interface StepRecord {
  readonly kind: StepKind
  /** None for a step that began and whose outcome nobody recorded. */
  readonly outcome: StepOutcome | undefined
  readonly isCompensated: boolean
  /** The place of its last entry in the journal. */
  readonly position: number
}

type TurnedBack = Extract<SagaEvent, { readonly _tag: "TurnedBack" }>

export interface History {
  /** By the paths of the steps. */
  readonly steps: ReadonlyMap<string, StepRecord>
  readonly turnedBack: TurnedBack | undefined
  /** The last reason to stand still, also after the saga went on. */
  readonly parking: Parking | undefined
}

export const empty: History = { steps: new Map(), turnedBack: undefined, parking: undefined }

/** Entries in the order of their positions, the first of which is 0. */
export const fold = (entries: ReadonlyArray<JournalEntry>): History => {
  const steps = new Map<string, StepRecord>()
  let turnedBack: TurnedBack | undefined
  let parking: Parking | undefined
  for (const [position, { event }] of entries.entries()) {
    switch (event._tag) {
      case "StepStarted": {
        steps.set(event.step, { kind: event.kind, outcome: undefined, isCompensated: false, position })
        break
      }
      case "StepCompleted": {
        const outcome: StepOutcome = { _tag: "Completed", output: event.output }
        steps.set(event.step, { kind: event.kind, outcome, isCompensated: false, position })
        break
      }
      case "StepFailed": {
        const { error, failure, kind, step, unknown } = event
        steps.set(step, {
          kind,
          outcome: { _tag: "Failed", failure, error, unknown },
          isCompensated: false,
          position
        })
        break
      }
      case "CompensationCompleted": {
        const record = steps.get(event.step)
        if (record !== undefined) steps.set(event.step, { ...record, isCompensated: true })
        break
      }
      case "TurnedBack": {
        turnedBack = event
        break
      }
      case "Parked": {
        parking = { reason: event.reason, step: event.step, error: event.error }
        break
      }
      case "Resumed": {
        // The step that it parked over is tried anew.
        const step = parking?.step ?? undefined
        const record = step === undefined ? undefined : steps.get(step)
        if (step !== undefined && record?.outcome?._tag === "Failed" && turnedBack === undefined) {
          steps.set(step, { ...record, outcome: undefined })
        }
        break
      }
      case "CompensationStarted":
      case "Recovered":
      case "Completed":
      case "Compensated":
    }
  }
  return { steps, turnedBack, parking }
}
