/** The steps of sagas, as an interpreter sees them. */
import type { Duration, Effect, Option, Schedule } from "effect"
import type { StepKind } from "./SagaEvent.ts"
import type { StepCodec } from "./StepCodec.ts"

/** What an action or a compensation may know about where it stands. */
export interface StepContext {
  readonly sagaId: string
  /** The name of the saga's definition. */
  readonly saga: string
  /** The step's path: its name, after the names of the nested sagas and parallel branches that it is in. */
  readonly step: string
  /**
   * The same for every attempt at this step, by whichever process, and for its compensation: whoever does the work
   * can tell by it that he has done it already.
   */
  readonly idempotencyKey: string
  /** Counts from 1 in each process. */
  readonly attempt: number
  /** Counts the owners that this saga has had. */
  readonly epoch: number
  /**
   * Grows with each owner, and once more for a compensation. Whoever does the work keeps the largest that he has seen
   * for the idempotency key and refuses smaller ones: so what comes late does nothing (M. Kleppmann, "How to do
   * distributed locking", on fencing tokens).
   */
  readonly fence: number
  /**
   * Goes on only while this attempt is still wanted, and interrupts it otherwise: where the work itself can't look at
   * `fence`, this makes the time short in which a late attempt can do harm.
   */
  readonly checkFence: Effect.Effect<void>
}

export type Action<A, E, R> = (context: StepContext) => Effect.Effect<A, E, R>

/** Gets what the action returned, or none where it is not known whether it did anything. */
export type Compensation<A, R> = (output: Option.Option<A>, context: StepContext) => Effect.Effect<void, unknown, R>

export interface Undo<A, R> {
  readonly compensate: Compensation<A, R>
  readonly retry: Schedule.Schedule<unknown>
  readonly timeout: Duration.Duration
}

export interface Step<A, E, R> {
  readonly name: string
  readonly kind: StepKind
  /** Runs in one transaction with its entry in the journal. */
  readonly isTransactional: boolean
  readonly output: StepCodec<A>
  readonly error: StepCodec<E>
  readonly action: Action<A, E, R>
  readonly retry: Schedule.Schedule<unknown, E> | undefined
  readonly timeout: { readonly after: Duration.Duration; readonly error: () => E } | undefined
  /** None where there is nothing to undo. */
  readonly compensation: Undo<A, R> | undefined
}
