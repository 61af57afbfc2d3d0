/** The sagas of one definition in this process, from where they begin here to where they end or leave it. */
import { Cause, Clock, Context, Duration, Effect, Exit, Option, Result, Scope, Tracer } from "effect"
import type { Fiber } from "effect"
import { keepTrying } from "../messaging/KeepTrying.ts"
import * as History from "./History.ts"
import * as Interpreter from "./Interpreter.ts"
import { describe, describeCause } from "./interpreter/Execution.ts"
import type { RecorderOptions } from "./interpreter/Recorder.ts"
import { firstEpoch } from "./Journal.ts"
import type { Journal, SagaRecord } from "./Journal.ts"
import { entriesOf, parkRecord } from "./Parking.ts"
import type { Definition } from "./Saga.ts"
import * as SagaMetrics from "./SagaMetrics.ts"
import type { SagaOwner } from "./SagaOwner.ts"
import { isActive, started } from "./SagaStatus.ts"
import type { ParkReason, RecordedError } from "./SagaStatus.ts"
import * as TraceContext from "./TraceContext.ts"

/** Where a run begins: at a new saga, or at what the journal has of one. */
interface Beginning<A, E, R> extends
  Pick<
    Interpreter.RunOptions<A, E, R>,
    "routine" | "sagaId" | "epoch" | "status" | "history" | "length" | "isRecovery" | "create"
  >
{
  readonly startedAt: number
  readonly isCancelRequested: boolean
  readonly traceparent: string | undefined
}

type RunFiber<A, E> = Fiber.Fiber<Interpreter.Outcome<A, E>>

export interface NewRun<I> {
  readonly sagaId: string
  readonly input: I
  readonly startedAt: number
  readonly create: RecorderOptions["create"]
}

export interface SagaRunsOptions {
  /** A saga over which so many processes died in a row is parked. Default 20. */
  readonly maxRecoveries?: number | undefined
  /** How much one step may return, in bytes of its JSON. Default 256 KiB. */
  readonly maxOutputBytes?: number | undefined
}

/** The runs, for as long as the scope lives; when it closes they are interrupted and given back. */
export const make = Effect.fnUntraced(function*<I, A, E, R>(
  journal: Journal["Service"],
  owner: SagaOwner,
  definition: Definition<I, A, E, R>,
  { maxOutputBytes = 256 * 1_024, maxRecoveries = 20 }: SagaRunsOptions
) {
  const { name } = definition
  const metrics = SagaMetrics.of(name)
  const clock = yield* Clock.Clock
  const fibers = new Map<string, RunFiber<A, E>>()
  const interrupted = new Set<string>()

  // Scopes close in reverse: the runs end, then what their actions left running, then the sagas are given back.
  yield* Effect.addFinalizer(() => Effect.sync(() => interrupted.forEach(owner.abandon)))
  const scope = yield* Scope.Scope
  const actions = yield* Scope.fork(scope, "parallel")
  const runs = yield* Scope.fork(scope, "parallel")

  /** What runs has nothing of who started it but the span: not its transaction, not its deadline. */
  const context = yield* Effect.context<R>()
  const apart = <B, E2>(effect: Effect.Effect<B, E2, R>): Effect.Effect<B, E2> =>
    Effect.updateContext(
      effect,
      (starter: Context.Context<never>) =>
        Option.match(Context.getOption(starter, Tracer.ParentSpan), {
          onNone: () => context,
          onSome: (span) => Context.add(context, Tracer.ParentSpan, span)
        })
    )

  const runOptions = (beginning: Beginning<A, E, R>): Interpreter.RunOptions<A, E, R> => ({
    ...beginning,
    clock,
    saga: name,
    deadline: definition.deadline === undefined
      ? undefined
      : beginning.startedAt + Duration.toMillis(definition.deadline),
    maxOutputBytes,
    journal,
    scope: actions
  })

  const park = (record: SagaRecord, reason: ParkReason, error: RecordedError | null) =>
    parkRecord(journal, record, { reason, step: null, error })

  const find = keepTrying("A saga waits for its journal")

  /** Parks a saga that the interpreter failed on, as soon as the journal can be reached. */
  const parkFailed = (sagaId: string, epoch: number, error: RecordedError) =>
    Effect.forkIn(
      Effect.flatMap(find(journal.find(sagaId)), (found) => {
        const record = Option.getOrUndefined(found)
        return record?.epoch === epoch && isActive(record.status.state)
          ? park(record, "internal-defect", error)
          : Effect.void
      }),
      runs
    )

  const detached = (sagaId: string, why: Extract<Interpreter.Outcome<A, E>, { readonly _tag: "Detached" }>["why"]) => {
    // What is still on its way must not come between: only a new epoch keeps it out
    if (why === "unsure") owner.abandon(sagaId)
    return Effect.logWarning(`Saga left: ${why}`)
  }

  const failed = Effect.fnUntraced(function*({ epoch, sagaId }: Beginning<A, E, R>, cause: Cause.Cause<never>) {
    if (Cause.hasInterruptsOnly(cause)) {
      if (owner.hasLease()) interrupted.add(sagaId)
      return
    }
    yield* Effect.logError("The interpreter failed", cause)
    yield* parkFailed(sagaId, epoch, describeCause(cause))
  })

  const ended = (beginning: Beginning<A, E, R>, exit: Exit.Exit<Interpreter.Outcome<A, E>>): Effect.Effect<unknown> => {
    const { sagaId, startedAt } = beginning
    fibers.delete(sagaId)
    owner.remove(sagaId)
    if (Exit.isFailure(exit)) return failed(beginning, exit.cause)
    const outcome = exit.value
    if (outcome._tag === "Detached") return detached(sagaId, outcome.why)
    const how = outcome._tag === "Parked" ? "parked" : Exit.isSuccess(outcome.exit) ? "completed" : "compensated"
    return metrics.ended(how, clock.currentTimeMillisUnsafe() - startedAt)
  }

  const begin = (beginning: Beginning<A, E, R>, startImmediately: boolean) =>
    Effect.suspend(() => {
      const { isCancelRequested, sagaId, traceparent } = beginning
      interrupted.delete(sagaId)
      const { outcome, stop } = Interpreter.make(runOptions(beginning))
      if (isCancelRequested) stop("cancelled")
      const whole = outcome.pipe(
        TraceContext.withSpan(name, { "saga.id": sagaId }),
        TraceContext.resume(traceparent),
        Effect.onExit((exit) => ended(beginning, exit)),
        Effect.annotateLogs({ saga: name, sagaId }),
        metrics.inFlight,
        apart
      )
      return Effect.map(Effect.forkIn(whole, runs, { startImmediately }), (fiber) => {
        // One that never waits has ended by now
        if (fiber.pollUnsafe() === undefined) {
          fibers.set(sagaId, fiber)
          owner.add(sagaId, { stop, fiber })
        }
        return fiber
      })
    })

  /** Whether a run that began at once has not come back yet: what it begins itself takes its turn, however long the chain. */
  let isWithin = false
  const beginAtOnce = (beginning: Beginning<A, E, R>) =>
    Effect.uninterruptible(Effect.suspend(() => {
      if (isWithin) return begin(beginning, false)
      isWithin = true
      return Effect.map(begin(beginning, true), (fiber) => {
        isWithin = false
        return fiber
      })
    }))

  const resume = Effect.fnUntraced(function*(record: SagaRecord) {
    if (record.recoveries > maxRecoveries) return yield* park(record, "recoveries-exhausted", null)
    const read = yield* Effect.result(Effect.all([entriesOf(record), definition.decode(record.input)]))
    if (Result.isFailure(read)) return yield* park(record, "journal-unreadable", describe(read.failure))
    const [entries, { routine }] = read.success
    // One that was left for whoever has room has had no owner before
    const isRecovery = record.epoch > firstEpoch
    yield* begin({
      ...record,
      routine,
      sagaId: record.id,
      history: History.fold(entries),
      length: entries.length,
      isRecovery
    }, false)
    if (isRecovery) yield* metrics.recovered
  })

  return {
    /** Undefined for a saga that does not run here. */
    running: (sagaId: string) => fibers.get(sagaId),

    /** Runs until it waits for something, or to its end, before it returns. */
    start: ({ create, input, sagaId, startedAt }: NewRun<I>) =>
      beginAtOnce({
        routine: definition.saga(input).routine,
        sagaId,
        epoch: firstEpoch,
        status: started,
        history: History.empty,
        length: 0,
        isRecovery: false,
        create,
        startedAt,
        isCancelRequested: false,
        traceparent: undefined
      }),

    /** Goes on with a saga that was taken over from another owner, or parks it where that can't be. */
    resume,

    /** How an ended saga ended, with the types that it has. */
    outcome: (record: SagaRecord) =>
      Effect.gen(function*() {
        const entries = yield* entriesOf(record)
        const { routine } = yield* definition.decode(record.input)
        return yield* Interpreter.replayed(runOptions({
          ...record,
          routine,
          sagaId: record.id,
          history: History.fold(entries),
          length: entries.length,
          isRecovery: false
        }))
      }).pipe(Effect.catchTag("SchemaError", Effect.die), apart)
  }
})
