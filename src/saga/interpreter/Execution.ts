/** What all branches of one run of a saga share. */
import { Cause, Effect, Predicate, Schedule } from "effect"
import type { Schema, Scope } from "effect"
import type { History } from "../History.ts"
import type { Journal } from "../Journal.ts"
import type { ParkReason, RecordedError } from "../SagaStatus.ts"
import type { StepContext } from "../StepSpec.ts"
import type { Recorder } from "./Recorder.ts"
import type { Replay } from "./Replay.ts"
import { MustPark } from "./Signal.ts"

export interface Execution {
  readonly sagaId: string
  readonly saga: string
  readonly epoch: number
  readonly journal: Journal["Service"]
  readonly history: History
  readonly recorder: Recorder
  readonly replay: Replay
  /** Owns actions that do not let themselves be interrupted. */
  readonly scope: Scope.Scope
  /** How much a step may return, in bytes of JSON. */
  readonly maxOutputBytes: number
  /** How often each path was taken, to tell repeated steps apart. */
  readonly occurrences: Map<string, number>
  /** Whether the run has come past the pivot, be it in replay. */
  isCommitted: boolean
  /** Once the saga can no longer be cancelled. */
  readonly onCommit: () => void
}

/** More entries than this mean that the saga does not end. */
export const maxEntries = 10_000

/** The path of a step; the second time it comes by it is another step. */
export const occurrence = ({ occurrences }: Execution, path: string): string => {
  const count = (occurrences.get(path) ?? 0) + 1
  occurrences.set(path, count)
  return count === 1 ? path : `${path}#${count}`
}

export const park = (
  reason: ParkReason,
  step: string | null,
  error: RecordedError | null = null
): Effect.Effect<never> => Effect.die(new MustPark({ parking: { reason, step, error } }))

/** An error in words, for who has no schema to read it by. */
export const describe = (error: unknown, value?: Schema.Json): RecordedError => {
  const tag = Predicate.hasProperty(error, "_tag") && Predicate.isString(error._tag)
    ? error._tag
    : error instanceof Error
    ? error.name
    : typeof error
  const message = error instanceof Error ? error.message : Predicate.isString(error) ? error : ""
  return value === undefined ? { tag, message } : { tag, message, value }
}

export const describeCause = (cause: Cause.Cause<unknown>): RecordedError => describe(Cause.squash(cause))

const whileAway = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])

const isCurrent = ({ epoch, journal, sagaId }: Execution, isWanted: () => boolean): Effect.Effect<boolean> =>
  Effect.suspend(() => isWanted() ? journal.holds(sagaId, epoch) : Effect.succeed(false)).pipe(
    Effect.retry(whileAway),
    Effect.orElseSucceed(() => false)
  )

/** A fence is twice the epoch, and one more for compensations: later owners and later directions have larger ones. */
export const contextOf = (
  execution: Execution,
  step: string,
  direction: "action" | "compensation",
  isWanted: () => boolean
) =>
(attempt: number): StepContext => {
  const { epoch, saga, sagaId } = execution
  return {
    sagaId,
    saga,
    step,
    idempotencyKey: `${sagaId}/${step}`,
    attempt,
    epoch,
    fence: 2 * epoch + (direction === "compensation" ? 1 : 0),
    checkFence: Effect.suspend(() =>
      Effect.flatMap(isCurrent(execution, isWanted), (holds) => holds ? Effect.void : Effect.interrupt)
    )
  }
}
