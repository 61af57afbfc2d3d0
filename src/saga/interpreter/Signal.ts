/**
 * What ends the run of a saga from outside of it. Signals travel as defects, so that neither the types of sagas nor
 * their handlers of errors know about them.
 */
import { Cause, Data } from "effect"
import type { Parking } from "../SagaStatus.ts"

/** The branch was told to stop. */
export class Halted extends Data.TaggedClass("Halted")<{ readonly step: string }> {}

/** The saga can go neither on nor back. */
export class MustPark extends Data.TaggedClass("MustPark")<{ readonly parking: Parking }> {}

/**
 * This process must not go on with the saga: another one has it (`taken`), the journal has to be read again to know
 * where it is (`unsure`), or it was never this one's to begin with (`unborn`).
 */
export class Detached extends Data.TaggedClass("Detached")<{ readonly why: "taken" | "unsure" | "unborn" }> {}

export type Signal = Halted | MustPark | Detached

const isSignal = (defect: unknown): defect is Signal =>
  defect instanceof Halted || defect instanceof MustPark || defect instanceof Detached

const weights = { Halted: 0, MustPark: 1, Detached: 2 }

/** The signal in a cause; of several the one that decides most. */
export const find = (cause: Cause.Cause<unknown>): Signal | undefined => {
  let found: Signal | undefined
  for (const reason of cause.reasons) {
    if (!Cause.isDieReason(reason) || !isSignal(reason.defect)) continue
    if (found === undefined || weights[reason.defect._tag] > weights[found._tag]) found = reason.defect
  }
  return found
}
