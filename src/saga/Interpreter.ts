/**
 * Runs one saga for one owner, from wherever the journal says that it is to its end, or to where it has to be parked.
 * The same interpreter serves every journal.
 */
import { Cause, Effect, Exit, Schema } from "effect"
import type { Clock, Scope } from "effect"
import type { History } from "./History.ts"
import * as Branches from "./interpreter/Branches.ts"
import { describeCause } from "./interpreter/Execution.ts"
import type { Execution } from "./interpreter/Execution.ts"
import { Halt } from "./interpreter/Halt.ts"
import * as Line from "./interpreter/Line.ts"
import * as Log from "./interpreter/Log.ts"
import * as Recorder from "./interpreter/Recorder.ts"
import { Replay } from "./interpreter/Replay.ts"
import * as Signal from "./interpreter/Signal.ts"
import { rollback } from "./interpreter/Undoing.ts"
import type { Journal } from "./Journal.ts"
import type { Saga } from "./Saga.ts"
import { SagaCancelled, SagaDeadlineExceeded } from "./SagaError.ts"
import type { FirstError, Parking, SagaStatus } from "./SagaStatus.ts"

/** Why a saga turned back that no step of it failed. */
export type StopReason = "cancelled" | "deadline"

export type Outcome<A, E> =
  | { readonly _tag: "Ended"; readonly exit: Exit.Exit<A, E | SagaCancelled | SagaDeadlineExceeded> }
  | { readonly _tag: "Parked"; readonly parking: Parking }
  /** It goes on elsewhere, or has to be read again. */
  | { readonly _tag: "Detached"; readonly why: Signal.Detached["why"] }

export interface RunOptions<A, E, R> {
  readonly routine: Saga<A, E, R>["routine"]
  /** The name of its definition. */
  readonly saga: string
  readonly sagaId: string
  readonly epoch: number
  readonly status: SagaStatus
  readonly history: History
  /** How many entries there are. */
  readonly length: number
  readonly isRecovery: boolean
  /** How much a step may return, in bytes of JSON. */
  readonly maxOutputBytes: number
  /** When it has to be done, in milliseconds since 1970. */
  readonly deadline: number | undefined
  readonly create?: Recorder.RecorderOptions["create"]
  readonly clock: Clock.Clock
  readonly journal: Journal["Service"]
  /** Owns actions that do not let themselves be interrupted; closed after the run has ended. */
  readonly scope: Scope.Scope
}

export interface Run<A, E, R> {
  /** To be run once. */
  readonly outcome: Effect.Effect<Outcome<A, E>, never, R>
  /** Turns the saga back, unless it is past its pivot or has turned back already. */
  readonly stop: (reason: StopReason) => void
}

const prepare = <A, E, R>(options: RunOptions<A, E, R>, isReplayOnly: boolean) => {
  const { epoch, history, journal, maxOutputBytes, saga, sagaId, scope } = options
  const recorder = Recorder.make(options)
  const root = Line.make({ halt: new Halt(), isParallel: false, isRecoverable: false, position: -1 })
  const stopped: { reason: StopReason | undefined } = { reason: undefined }
  const execution: Execution = {
    sagaId,
    saga,
    epoch,
    journal,
    history,
    recorder,
    replay: new Replay(history),
    scope,
    maxOutputBytes,
    occurrences: new Map(),
    isCommitted: false,
    onCommit: () => {
      if (isReplayOnly) return
      stopped.reason = undefined
      root.halt.clear()
    }
  }
  const body = Effect.suspend(() => options.routine(Branches.on(execution, root, "")))
  return { execution, recorder, root, stopped, body }
}

export const make = <A, E, R>(options: RunOptions<A, E, R>): Run<A, E, R> => {
  const { clock, deadline, epoch, history, isRecovery, sagaId } = options
  const { body, execution, recorder, root, stopped } = prepare(options, false)

  const stop = (reason: StopReason) => {
    if (execution.isCommitted || history.turnedBack !== undefined || stopped.reason !== undefined) return
    stopped.reason = reason
    root.halt.trigger()
  }

  /** Makes the last write; its own failure is the outcome then. */
  const close = <B>(outcome: B) => Effect.as(recorder.close, outcome)

  const parked = (parking: Parking) =>
    Effect.gen(function*() {
      const { firstError } = recorder.status()
      const { error, step } = parking
      recorder.note({ _tag: "Parked", ...parking })
      recorder.become({ state: "parked", parking, firstError: firstError ?? (error === null ? null : { step, error }) })
      yield* Effect.logError(`Saga parked: ${parking.reason}`, parking)
      return yield* close<Outcome<A, E>>({ _tag: "Parked", parking })
    })

  const completed = (value: A) => {
    const end = Effect.suspend(() => {
      recorder.note({ _tag: "Completed" })
      recorder.become({ state: "completed" })
      return Log.info("Saga completed")(close<Outcome<A, E>>({ _tag: "Ended", exit: Exit.succeed(value) }))
    })
    // Records that are left over show that the steps have changed.
    return execution.replay.isOver ? end : Effect.andThen(execution.replay.caughtUp(), end)
  }

  /** What the caller is told. */
  const verdict = (
    reason: StopReason | "failed",
    cause: Cause.Cause<E>
  ): Cause.Cause<E | SagaCancelled | SagaDeadlineExceeded> =>
    reason === "cancelled"
      ? Cause.fail(new SagaCancelled({ sagaId }))
      : reason === "deadline"
      ? Cause.fail(new SagaDeadlineExceeded({ sagaId }))
      : cause

  const turnedBack = (cause: Cause.Cause<E>) =>
    Effect.gen(function*() {
      const isHalted = Signal.find(cause) !== undefined
      const reason = history.turnedBack?.reason ?? (isHalted ? stopped.reason : undefined) ?? "failed"
      const told = verdict(reason, cause)
      if (history.turnedBack === undefined) {
        const first: FirstError = isHalted || root.failure === undefined
          ? { step: null, error: describeCause(told) }
          : root.failure
        recorder.note({ _tag: "TurnedBack", reason, first })
        recorder.become({ state: "compensating", direction: "backward", firstError: first })
        yield* Effect.logWarning(`Saga turns back: ${reason}`, first)
      }
      yield* rollback(root.undo)
      recorder.note({ _tag: "Compensated" })
      recorder.become({ state: "compensated" })
      yield* Effect.logInfo("Saga compensated")
      return yield* close<Outcome<A, E>>({ _tag: "Ended", exit: Exit.failCause(told) })
    })

  const failed = (cause: Cause.Cause<E>) =>
    execution.isCommitted
      ? parked({ reason: "step-failed", step: root.failure?.step ?? null, error: describeCause(cause) })
      : turnedBack(cause)

  const run = Effect.suspend(() => {
    if (isRecovery) recorder.note({ _tag: "Recovered", epoch })
    if (history.turnedBack !== undefined) root.halt.trigger()
    return Effect.matchCauseEffect(body, {
      onSuccess: (value) =>
        history.turnedBack === undefined
          ? completed(value)
          : turnedBack(Cause.die(new Signal.Halted({ step: "" }))),
      onFailure: (cause) => {
        const signal = Signal.find(cause)
        return signal === undefined || signal._tag === "Halted" ? failed(cause) : Effect.die(signal)
      }
    })
  })

  /** The signals of the way back, and of the last write, come here as well. */
  const settled = (cause: Cause.Cause<never>): Effect.Effect<Outcome<A, E>> => {
    const signal = Signal.find(cause)
    switch (signal?._tag) {
      case "MustPark":
        return Effect.catchCause(parked(signal.parking), settled)
      case "Detached":
        return Effect.succeed({ _tag: "Detached", why: signal.why })
      default:
        return Effect.failCause(cause)
    }
  }

  const untilDeadline = (end: number) =>
    Effect.suspend(() => Effect.sleep(Math.max(0, end - clock.currentTimeMillisUnsafe())))
  const limited = deadline === undefined
    ? run
    : Effect.scoped(
      Effect.andThen(
        Effect.forkScoped(Effect.andThen(untilDeadline(deadline), Effect.sync(() => stop("deadline")))),
        run
      )
    )
  return { stop, outcome: Effect.catchCause(limited, settled) }
}

/** An ended saga of which the journal does not say how. */
class UnreadableOutcome extends Schema.TaggedError<UnreadableOutcome>()("UnreadableOutcome", {
  sagaId: Schema.String
}) {
  override get message() {
    return `The journal does not show how the saga ${this.sagaId} ended, or its definition has changed since`
  }
}

/** How a saga ended, with the types that it had: it is run again on what is recorded, and does nothing new. */
export const replayed = Effect.fnUntraced(function*<A, E, R>(options: RunOptions<A, E, R>) {
  const { history: { turnedBack }, sagaId } = options
  const { body, root } = prepare(options, true)
  if (turnedBack?.reason === "cancelled") return yield* new SagaCancelled({ sagaId })
  if (turnedBack?.reason === "deadline") return yield* new SagaDeadlineExceeded({ sagaId })
  root.halt.trigger()
  return yield* Effect.catchCauseIf(
    body,
    (cause) => Signal.find(cause) !== undefined,
    () => Effect.die(new UnreadableOutcome({ sagaId }))
  )
})
