import type { FirstError } from "../SagaStatus.ts"
import type { Halt } from "./Halt.ts"
import type { UndoLine } from "./Undoing.ts"

/** The state of one branch. */
export interface Line {
  readonly undo: UndoLine
  readonly halt: Halt
  /** It runs beside others. */
  readonly isParallel: boolean
  /** An error that a step ends with may be answered by other steps, although the saga is past its pivot. */
  readonly isRecoverable: boolean
  /** The place in the journal of the last outcome on this branch. */
  position: number
  /** The error that a step of this branch ended with, until it is answered. */
  failure: FirstError | undefined
}

export const make = (options: Pick<Line, "halt" | "isParallel" | "isRecoverable" | "position">): Line => ({
  ...options,
  undo: [],
  failure: undefined
})
