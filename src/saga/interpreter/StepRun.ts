/** One step on one branch: answered from the journal, or done. */
import { Cause, Context, Duration, Effect, Exit, Option, Schema } from "effect"
import type { StepOutcome } from "../History.ts"
import { StepOutputTooLarge } from "../SagaError.ts"
import type { SagaEvent, StepKind } from "../SagaEvent.ts"
import { sizeBeyond } from "../StepCodec.ts"
import type { Step, StepContext } from "../StepSpec.ts"
import * as TraceContext from "../TraceContext.ts"
import * as Attempts from "./Attempts.ts"
import { contextOf, describe, describeCause, maxEntries, occurrence, park } from "./Execution.ts"
import type { Execution } from "./Execution.ts"
import type { Line } from "./Line.ts"
import * as Log from "./Log.ts"
import * as Signal from "./Signal.ts"
import { compensation } from "./Undoing.ts"

/** A mistake of the saga's definition. */
class MisplacedStep extends Schema.TaggedError<MisplacedStep>()("MisplacedStep", { step: Schema.String }) {
  override get message() {
    return `"${this.step}" passes the point of no return, so it can't stand in a parallel branch before the pivot`
  }
}

/** The defect that a step ended with, as far as the journal keeps it. */
class RecordedDefect extends Schema.TaggedError<RecordedDefect>()("RecordedDefect", {
  step: Schema.String,
  defect: Schema.String
}) {
  override get message() {
    return `The step "${this.step}" ended with a defect: ${this.defect}`
  }
}

/** What an action returned, and how the journal keeps it. */
interface Result<A> {
  readonly value: A
  readonly output: Schema.Json
}

/** A step where it stands, and what is to be known when it has to be undone. */
interface Place<A, E, R> {
  readonly execution: Execution
  readonly line: Line
  readonly step: Step<A, E, R>
  readonly path: string
  /** The services that its compensation has, whenever that is. */
  readonly context: Context.Context<R>
  output: Option.Option<A>
  isUndoNeeded: boolean
}

const registerUndo = <A, E, R>(place: Place<A, E, R>): void => {
  const { context, execution, line, path, step } = place
  const undo = step.compensation
  if (undo === undefined) return
  const compensate = (output: Option.Option<A>, at: StepContext) =>
    // Its span and what its log lines say are its own
    Effect.updateContext(undo.compensate(output, at), (own: Context.Context<never>) => Context.merge(context, own))
  line.undo.push({
    _tag: "Step",
    undo: Effect.suspend(() =>
      place.isUndoNeeded
        ? compensation(execution, { ...step, path }, { ...undo, compensate }, () => place.output)
        : Effect.void
    )
  })
}

const commit = (execution: Execution, kind: StepKind) => {
  if (execution.isCommitted || kind === "compensatable") return
  execution.isCommitted = true
  execution.recorder.become({ direction: "committed" })
  execution.onCommit()
}

/** Answers from the journal. */
const repeatOutcome = Effect.fnUntraced(function*<A, E, R>(place: Place<A, E, R>, outcome: StepOutcome) {
  const { execution, line, path, step } = place
  const unreadable = (error: Schema.SchemaError) => park("journal-unreadable", path, describe(error))
  if (outcome._tag === "Completed") {
    const value = yield* Effect.catchTag(step.output.decode(outcome.output), "SchemaError", unreadable)
    place.output = Option.some(value)
    registerUndo(place)
    commit(execution, step.kind)
    return value
  }
  if (outcome.unknown) registerUndo(place)
  line.failure = { step: path, error: outcome.error }
  if (outcome.failure === "defect") {
    return yield* Effect.die(new RecordedDefect({ step: path, defect: outcome.error.message }))
  }
  const encoded = outcome.error.value ?? null
  return yield* Effect.fail(yield* Effect.catchTag(step.error.decode(encoded), "SchemaError", unreadable))
})

/** An output that can't be recorded is a mistake of the program. Most are encoded as soon as that is asked for. */
const recordable = <A, E, R>({ execution, path, step }: Place<A, E, R>, value: A): Effect.Effect<Result<A>> =>
  Effect.flatMapEager(Effect.catchEager(step.output.encode(value), Effect.die), (output) => {
    const limit = execution.maxOutputBytes
    const bytes = sizeBeyond(output, limit)
    return bytes === undefined
      ? Effect.succeed({ value, output })
      : Effect.die(new StepOutputTooLarge({ step: path, bytes, limit }))
  })

/** Attempts at the action; what they come to is not recorded yet, unless that is part of a transaction. */
const attempts = <A, E, R>(place: Place<A, E, R>, onCommit: (result: Result<A>) => void) => {
  const { execution, path, step } = place
  const { isTransactional, kind, retry, timeout } = step
  let current = 0
  const attempt = (count: number) => {
    current = count
    const context = contextOf(execution, path, "action", () => current === count)(count)
    const action = Effect.flatMap(step.action(context), (value) => recordable(place, value))
    if (!isTransactional) return action
    const completed = ({ output }: Result<A>): SagaEvent => {
      commit(execution, kind)
      return { _tag: "StepCompleted", step: path, kind, output }
    }
    return execution.recorder.transact(action, completed, onCommit)
  }
  return Attempts.repeat(attempt, {
    retry,
    timeout,
    scope: execution.scope,
    isPatient: isTransactional,
    onRetry: (error, attempt, delay) =>
      Effect.logInfo(`Step failed; again in ${Duration.format(delay)}`, { attempt }, error)
  })
}

/** The step ended without success: decides between failing, which may turn the saga back, and parking it. */
const failed = Effect.fnUntraced(function*<A, E, R>(
  place: Place<A, E, R>,
  ended: Exclude<Attempts.Ended<unknown, E>, { readonly _tag: "Succeeded" }>,
  wasStarted: boolean
) {
  const { execution, line, path, step } = place
  const { isTransactional, kind } = step
  if (ended._tag === "Died" && Signal.find(ended.cause) !== undefined) return yield* Effect.failCause(ended.cause)

  const encoded = ended._tag === "Failed" ? yield* Effect.option(step.error.encode(ended.error)) : Option.none()
  const isKnownError = ended._tag === "Failed" && (Option.isSome(encoded) || kind === "retriable")
  const unknown = !isTransactional && (wasStarted || !isKnownError || ended.unknown)
  const error = ended._tag === "Failed"
    ? describe(ended.error, Option.getOrUndefined(encoded))
    : describeCause(ended.cause)
  yield* Effect.logWarning("Step failed", error)

  const isTooLarge = ended._tag === "Died" && Cause.squash(ended.cause) instanceof StepOutputTooLarge
  const reason = isTooLarge ? "output-too-large" : "step-failed"
  if (kind === "retriable") return yield* park(reason, path, error)
  if (kind === "pivot" && unknown) return yield* park(isTooLarge ? reason : "outcome-unknown", path, error)
  if (execution.isCommitted && !(isKnownError && line.isRecoverable)) return yield* park(reason, path, error)

  const failure = isKnownError ? "error" : "defect"
  line.position = execution.recorder.note({ _tag: "StepFailed", step: path, kind, failure, error, unknown })
  line.failure = { step: path, error }
  place.isUndoNeeded = unknown
  if (ended._tag === "Died" && !Cause.hasInterruptsOnly(ended.cause)) return yield* Effect.failCause(ended.cause)
  if (ended._tag === "Died") return yield* Effect.die(new RecordedDefect({ step: path, defect: error.message }))
  return yield* isKnownError ? Effect.fail(ended.error) : Effect.die(ended.error)
})

const halted = (path: string) => Effect.die(new Signal.Halted({ step: path }))

/** What the attempts have come to: none where it is not known how they ended. */
const conclude = <A, E, R>(
  place: Place<A, E, R>,
  exit: Option.Option<Exit.Exit<Attempts.Ended<Result<A>, E>>>,
  wasStarted: boolean
): Effect.Effect<A, E> => {
  const { execution, line, path, step: { isTransactional, kind } } = place
  const { recorder } = execution
  if (Option.isNone(exit)) {
    place.isUndoNeeded = !isTransactional
    return halted(path)
  }
  if (Exit.isFailure(exit.value)) return Effect.failCause(exit.value.cause)
  const ended = exit.value.value
  if (ended._tag !== "Succeeded") return failed(place, ended, wasStarted)
  const { output, value } = ended.value
  place.output = Option.some(value)
  if (isTransactional) {
    line.position = recorder.count() - 1
  } else {
    line.position = recorder.note({ _tag: "StepCompleted", step: path, kind, output })
    commit(execution, kind)
  }
  return Log.debug("Step completed")(Effect.succeed(value))
}

/** Runs the attempts until they end or the branch is told to stop. */
const act = <A, E, R>(place: Place<A, E, R>, wasStarted: boolean): Effect.Effect<A, E, R> => {
  const { execution, line, step } = place
  let committed = Option.none<Exit.Exit<Attempts.Ended<Result<A>, E>>>()
  const whole = attempts(place, (value) => {
    committed = Option.some(Exit.succeed({ _tag: "Succeeded", value }))
  })
  // A pivot is waited for: to stop it would be to make its outcome unknown.
  const watched = step.kind === "pivot"
    ? Effect.asSome(Effect.exit(whole))
    : Attempts.watched(whole, { scope: execution.scope, until: line.halt.wait, isPatient: step.isTransactional })
  return Effect.flatMap(
    Log.debug("Step started")(watched),
    (exit) => conclude(place, Option.isSome(committed) ? committed : exit, wasStarted)
  )
}

/** A pivot that has begun is brought to an outcome, whatever happens: nobody could undo it. */
const mustEnd = (kind: StepKind, wasStarted: boolean): boolean => kind === "pivot" && wasStarted

/** Does the step, once everything recorded has been gone through. */
const begin = <A, E, R>(place: Place<A, E, R>, wasStarted: boolean): Effect.Effect<A, E, R> => {
  const { execution, line, path, step: { isTransactional, kind } } = place
  const { recorder } = execution
  if (line.halt.isOn && !mustEnd(kind, wasStarted)) return halted(path)
  if (kind !== "compensatable" && line.isParallel && !execution.isCommitted) {
    return Effect.die(new MisplacedStep({ step: path }))
  }
  if (recorder.count() >= maxEntries) return park("history-too-long", path)

  if (!wasStarted) registerUndo(place)
  if (kind === "retriable") commit(execution, kind)
  if (isTransactional) return act(place, wasStarted)
  if (!wasStarted) recorder.note({ _tag: "StepStarted", step: path, kind })
  return Effect.flatMap(
    line.isParallel ? recorder.flush : recorder.flushAlone,
    () => line.halt.isOn && kind !== "pivot" ? halted(path) : act(place, wasStarted)
  )
}

const perform = <A, E, R>(place: Place<A, E, R>, wasStarted: boolean): Effect.Effect<A, E, R> => {
  const { execution: { replay }, line: { halt }, step: { kind } } = place
  if (wasStarted) registerUndo(place)
  return replay.isOver
    ? begin(place, wasStarted)
    : Effect.flatMap(
      replay.caughtUp(mustEnd(kind, wasStarted) ? undefined : halt),
      () => begin(place, wasStarted)
    )
}

export const run = <A, E, R>(
  execution: Execution,
  line: Line,
  prefix: string,
  step: Step<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.contextWith((context: Context.Context<R>) => {
    const path = occurrence(execution, prefix + encodeURIComponent(step.name))
    const place: Place<A, E, R> = { execution, line, step, path, context, output: Option.none(), isUndoNeeded: true }
    const record = execution.replay.take(path)
    if (record !== undefined && record.kind !== step.kind) return park("definition-changed", path)
    if (record?.outcome !== undefined) {
      line.position = record.position
      return repeatOutcome(place, record.outcome)
    }
    return perform(place, record !== undefined).pipe(
      Effect.annotateLogs("step", path),
      TraceContext.withSpanIn(context, step.name, { "saga.id": execution.sagaId, "saga.step": path })
    )
  })
