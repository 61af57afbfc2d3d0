/** Attempts at an action or a compensation: their time limit, their repetition, and what is known afterwards. */
import { Cause, Clock, Duration, Effect, Exit, Fiber, Option, Predicate, Pull, Result, Schedule } from "effect"
import type { Scope } from "effect"

export type Ended<A, E> =
  | { readonly _tag: "Succeeded"; readonly value: A }
  /** `unknown`: an earlier attempt may have had its effect. */
  | { readonly _tag: "Failed"; readonly error: E; readonly unknown: boolean }
  | { readonly _tag: "Died"; readonly cause: Cause.Cause<never> }

/** How long an interrupted attempt may take to end before it is left to itself; its fence keeps it from doing harm. */
const patience = Duration.seconds(5)

/** Whether the exit tells what became of the work, other than that it was interrupted. */
const isTelling = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit) || (Exit.hasFails(exit) && !Exit.hasInterrupts(exit))

export interface Watch {
  /** Owns what does not let itself be interrupted. */
  readonly scope: Scope.Scope
  /** Ends the work when it ends. */
  readonly until: Effect.Effect<void>
  /** Waits for the end of the work however long that takes. */
  readonly isPatient: boolean
}

/** Runs the effect until it ends or is stopped: none, when it is not known how it ended. */
export const watched = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  { isPatient, scope, until }: Watch
): Effect.Effect<Option.Option<Exit.Exit<A, E>>, never, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkIn(effect, scope, { startImmediately: true }), (fiber) => {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return Effect.succeedSome(exit)
      const ended = Fiber.await(fiber)
      const stop = Effect.suspend(() => {
        fiber.interruptUnsafe()
        return Effect.map(
          isPatient ? Effect.asSome(ended) : Effect.timeoutOption(ended, patience),
          Option.filter(isTelling)
        )
      })
      return restore(Effect.raceFirst(Effect.asSome(ended), Effect.as(until, Option.none()))).pipe(
        Effect.onInterrupt(() => stop),
        Effect.filterOrElse(Option.isSome, () => stop)
      )
    })
  )

export interface AttemptOptions<E> {
  readonly retry: Schedule.Schedule<unknown, E> | undefined
  readonly timeout: { readonly after: Duration.Duration; readonly error: () => E } | undefined
  readonly scope: Scope.Scope
  readonly isPatient: boolean
  /** Called for each attempt that is followed by another. */
  readonly onRetry: (error: E, attempt: number, delay: Duration.Duration) => Effect.Effect<void>
}

/** The error of a cause that holds nothing else: with a defect beside it nothing is known. */
const errorOf = <E>(cause: Cause.Cause<E>): Result.Result<E, Cause.Cause<never>> =>
  cause.reasons.every(Cause.isFailReason)
    ? Cause.findError(cause)
    : Result.fail(Cause.fromReasons(cause.reasons.filter((reason) => !Cause.isFailReason(reason))))

/** Attempts, counted from 1, until one succeeds or the schedule ends. Defects are not retried. To be run once. */
export const repeat = <A, E, R>(
  attempt: (attempt: number) => Effect.Effect<A, E, R>,
  { isPatient, onRetry, retry, scope, timeout }: AttemptOptions<E>
): Effect.Effect<Ended<A, E>, never, R> => {
  let unknown = false
  let step: ((now: number, error: E) => Pull.Pull<[unknown, Duration.Duration], never, unknown>) | undefined

  const once = (count: number): Effect.Effect<A, E, R> => {
    if (timeout === undefined) return attempt(count)
    const { after, error } = timeout
    return Effect.flatMap(
      watched(attempt(count), { scope, until: Effect.sleep(after), isPatient }),
      Option.getOrElse(() => {
        // A transaction that was interrupted is rolled back: nothing is unknown about it.
        if (!isPatient) unknown = true
        return Exit.fail(error())
      })
    )
  }

  /** Undefined once it is time for another attempt. */
  const afterFailure = (count: number, cause: Cause.Cause<E>) =>
    Effect.gen(function*(): Effect.fn.Return<Ended<A, E> | undefined> {
      const failed = errorOf(cause)
      if (Result.isFailure(failed)) return { _tag: "Died", cause: failed.failure }
      const error = failed.success
      if (retry === undefined) return { _tag: "Failed", error, unknown }
      step ??= yield* Schedule.toStep(retry)
      const delay = yield* Pull.matchEffect(step(yield* Clock.currentTimeMillis, error), {
        onSuccess: ([, delay]) => Effect.succeed<Duration.Duration | undefined>(delay),
        onFailure: Effect.failCause,
        onDone: () => Effect.undefined
      })
      if (delay === undefined) return { _tag: "Failed", error, unknown }
      yield* onRetry(error, count, delay)
      yield* Effect.sleep(delay)
      return undefined
    })

  const from = (count: number): Effect.Effect<Ended<A, E>, never, R> =>
    Effect.matchCauseEffect(Effect.suspend(() => once(count)), {
      onSuccess: (value) => Effect.succeed<Ended<A, E>>({ _tag: "Succeeded", value }),
      onFailure: (cause) =>
        Effect.filterOrElse(afterFailure(count, cause), Predicate.isNotUndefined, () => from(count + 1))
    })
  return from(1)
}
