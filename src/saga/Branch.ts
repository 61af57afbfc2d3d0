import type { Effect, Result } from "effect"
import type { Step } from "./StepSpec.ts"

/** A part of a saga, waiting for a branch to run it on. */
export type Routine<A, E, R> = (branch: Branch) => Effect.Effect<A, E, R>

/**
 * One line of execution of a saga. This is all that sagas ask of an interpreter: whatever else they do is plain code,
 * which does the same each time it runs, so that a saga is brought back to where it was by running it again and
 * answering its steps from the journal.
 */
export interface Branch {
  readonly sagaId: string
  readonly step: <A, E, R>(step: Step<A, E, R>) => Effect.Effect<A, E, R>
  /** As `step`, for one that is repeated whatever it fails with. */
  readonly retriable: <A, R>(step: Step<A, unknown, R>) => Effect.Effect<A, never, R>
  /** The same branch, with the paths of its steps below `name`. */
  readonly within: (name: string) => Branch
  /** Runs routines side by side, each on a branch of its own; the first that fails ends the others. */
  readonly together: <A, E, R>(
    routines: ReadonlyArray<readonly [name: string, routine: Routine<A, E, R>]>,
    concurrency: number
  ) => Effect.Effect<ReadonlyArray<A>, E, R>
  /**
   * Where `recover` answers an error of the routine with another routine, that one runs as soon as everything that the
   * first one did is undone.
   */
  readonly attempt: <A, E, R, A2, E2, R2, E3>(
    routine: Routine<A, E, R>,
    recover: (error: E) => Result.Result<Routine<A2, E2, R2>, E3>
  ) => Effect.Effect<A | A2, E2 | E3, R | R2>
}
