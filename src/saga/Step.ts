/**
 * The steps of sagas. Each is one change in one place, and says what kind it is: a compensatable one can be undone; the
 * pivot is the point of no return; a retriable one comes after it, and is repeated until it succeeds.
 */
import { Duration, Effect, Schedule, Schema } from "effect"
import * as Saga from "./Saga.ts"
import { StepTimedOut } from "./SagaError.ts"
import type { StepKind } from "./SagaEvent.ts"
import * as StepCodec from "./StepCodec.ts"
import type { StepSchema } from "./StepCodec.ts"
import type { Action, Compensation, Step } from "./StepSpec.ts"

export interface StepOptions<Output extends StepSchema, Error extends StepSchema, R> {
  /** Part of the step's path and of its idempotency key. */
  readonly name: string
  /** What the action returns. Default: nothing. */
  readonly output?: Output | undefined
  /**
   * What the action fails with, which says that it has done nothing. Default: nothing. Defects, timeouts and
   * interruptions say that it is unknown what it has done.
   */
  readonly error?: Error | undefined
  readonly action: Action<Output["Type"], Error["Type"], R>
  /** When to try again after an error or a timeout. */
  readonly retry?: Schedule.Schedule<unknown, Error["Type"] | StepTimedOut> | undefined
  /** How long one attempt may take. Default: as long as it likes. */
  readonly timeout?: Duration.Input | undefined
  /**
   * The action touches this journal's database only: it runs in one transaction with the step's entry in the journal,
   * so it takes effect exactly once, and its outcome is never unknown. Keep it short.
   */
  readonly transactional?: boolean | undefined
}

export interface CompensatableOptions<Output extends StepSchema, Error extends StepSchema, R, R2>
  extends StepOptions<Output, Error, R>
{
  /** Undoes what the action did, whatever that was: nothing, a part, all. Doing so again must do no harm. */
  readonly compensate: Compensation<Output["Type"], R2>
  /** When to try again after a compensation failed. Default: 10 times after growing delays of 100 ms to 30 s. */
  readonly compensationRetry?: Schedule.Schedule<unknown> | undefined
  /** How long one attempt at the compensation may take. Default 1 minute. */
  readonly compensationTimeout?: Duration.Input | undefined
}

interface Timed {
  readonly timeout: Duration.Input
}

interface Untimed {
  readonly timeout?: undefined
}

/** For steps that only look, or whose effects may stay. */
// A function like every compensation
// @effect-diagnostics-next-line lazyEffect:off
export const nothingToUndo = (): Effect.Effect<void> => Effect.void

const growing = (times: number) =>
  Schedule.upTo(Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("30 seconds")]), { times })

const timeoutOf = ({ name, timeout }: { readonly name: string; readonly timeout?: Duration.Input | undefined }) => {
  if (timeout === undefined) return undefined
  const after = Duration.fromInputUnsafe(timeout)
  return { after, error: () => new StepTimedOut({ step: name, after }) }
}

/** The overloads of the constructors give the types that a caller sees; in here outputs and errors are opaque. */
const specify = <R>(
  kind: StepKind,
  options: StepOptions<StepSchema, StepSchema, R>,
  rest: Pick<Step<unknown, unknown, R>, "compensation" | "retry">
): Step<unknown, unknown, R> => {
  const timeout = timeoutOf(options)
  const error = options.error ?? Schema.Never
  return {
    name: options.name,
    kind,
    isTransactional: options.transactional ?? false,
    output: StepCodec.make(options.output ?? Schema.Void),
    error: StepCodec.make(timeout === undefined ? error : Schema.Union([error, StepTimedOut])),
    action: options.action,
    timeout,
    ...rest
  }
}

/**
 * A step that can be undone: after it completed, and also when nobody knows whether it did. Its compensation gets what
 * the action returned, or none.
 */
export function compensatable<
  R,
  R2,
  Output extends StepSchema = Schema.Void,
  Error extends StepSchema = Schema.Never
>(
  options: CompensatableOptions<Output, Error, R, R2> & Timed
): Saga.Saga<Output["Type"], Error["Type"] | StepTimedOut, R | R2>
export function compensatable<
  R,
  R2,
  Output extends StepSchema = Schema.Void,
  Error extends StepSchema = Schema.Never
>(options: CompensatableOptions<Output, Error, R, R2> & Untimed): Saga.Saga<Output["Type"], Error["Type"], R | R2>
export function compensatable<R>(
  options: CompensatableOptions<StepSchema, StepSchema, R, R>
): Saga.Saga<unknown, unknown, R> {
  const { compensate } = options
  const step = specify("compensatable", options, {
    retry: options.retry,
    compensation: compensate === nothingToUndo ? undefined : {
      // Where the function throws, that is a defect of this attempt
      compensate: (output, context) => Effect.suspend(() => compensate(output, context)),
      retry: options.compensationRetry ?? growing(10),
      timeout: Duration.fromInputUnsafe(options.compensationTimeout ?? "1 minute")
    }
  })
  return Saga.fromRoutine((branch) => branch.step(step))
}

/**
 * The point of no return: until it completes the saga can be undone, afterwards it only goes forward. Where it is
 * unknown whether it did, the saga is parked; a transactional pivot always knows.
 */
export function pivot<R, Output extends StepSchema = Schema.Void, Error extends StepSchema = Schema.Never>(
  options: StepOptions<Output, Error, R> & Timed
): Saga.Saga<Output["Type"], Error["Type"] | StepTimedOut, R>
export function pivot<R, Output extends StepSchema = Schema.Void, Error extends StepSchema = Schema.Never>(
  options: StepOptions<Output, Error, R> & Untimed
): Saga.Saga<Output["Type"], Error["Type"], R>
export function pivot<R>(options: StepOptions<StepSchema, StepSchema, R>): Saga.Saga<unknown, unknown, R> {
  const step = specify("pivot", options, { retry: options.retry, compensation: undefined })
  return Saga.fromRoutine((branch) => branch.step(step))
}

export interface RetriableOptions<Output extends StepSchema, Error extends StepSchema, R>
  extends Omit<StepOptions<Output, Error, R>, "retry">
{
  /** Default: 20 times after growing delays of 100 ms to 30 s. */
  readonly retry?: Schedule.Schedule<unknown> | undefined
}

/**
 * A step that is repeated until it succeeds, whatever it fails with, and so can't fail the saga. When its schedule
 * ends the saga is parked. It has no compensation: where one begins, the saga is past its point of no return.
 */
export function retriable<R, Output extends StepSchema = Schema.Void, Error extends StepSchema = Schema.Never>(
  options: RetriableOptions<Output, Error, R>
): Saga.Saga<Output["Type"], never, R>
export function retriable<R>(options: RetriableOptions<StepSchema, StepSchema, R>): Saga.Saga<unknown, never, R> {
  const { action } = options
  const step = specify("retriable", {
    ...options,
    // Where the function throws, that is a defect of this attempt
    action: (context) => Effect.suspend(() => action(context))
  }, { retry: options.retry ?? growing(20), compensation: undefined })
  return Saga.fromRoutine((branch) => branch.retriable(step))
}
