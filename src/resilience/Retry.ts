/**
 * Retries: another attempt where it may help and can do no harm. An attempt is repeated only if its error was declared
 * retryable, the call may be repeated at all, attempts, budget and time are left, and not before the other side asked.
 */
import { Cause, Clock, Duration, Effect, Metric, Predicate, Pull, Result, Schedule } from "effect"
import { dual } from "effect/Function"
import * as Headers from "effect/http/Headers"
import { remainingMillis } from "./Deadline.ts"
import { checked, timeSpan, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { countRequest } from "./RetryBudget.ts"
import type { RetryBudget } from "./RetryBudget.ts"
import { decorrelatedJitter } from "./RetryDelay.ts"

/** Whether repeating a call could do its work twice. */
export type Repeatability =
  | { readonly _tag: "Safe" }
  /** It changes something. With an idempotency key the other side does so once; without, it is never repeated. */
  | { readonly _tag: "Unsafe"; readonly idempotencyKey: string | undefined }

export const safe: Repeatability = { _tag: "Safe" }
export const unsafe = (idempotencyKey: string | undefined): Repeatability => ({ _tag: "Unsafe", idempotencyKey })

/** When to come back: a span of time, or the value of a Retry-After header (seconds or a date). */
export type RetryAfter = Duration.Duration | string

export interface RetryOptions<E> {
  /** Names the policy in metrics. */
  readonly name: string
  /** The errors that another attempt may cure. No other error, no defect and no interruption is retried. */
  readonly retryable: (error: E) => boolean
  readonly call: Repeatability
  /** Attempts in all, the first one included. Default 3. */
  readonly maxAttempts?: number | undefined
  /** The delays; it may also end the retries. Default decorrelated jitter from 100 milliseconds up to 10 seconds. */
  readonly schedule?: Schedule.Schedule<unknown, E> | undefined
  /** When the error says to come back. Default its property `retryAfter`, if it has one. */
  readonly retryAfter?: ((error: E) => RetryAfter | undefined) | undefined
  /** Longer waits that the other side asks for are cut to this. Default one minute. */
  readonly retryAfterAtMost?: Duration.Input | undefined
}

export interface RetryPolicy<E> {
  readonly name: string
  readonly retryable: (error: E) => boolean
  readonly call: Repeatability
  readonly maxAttempts: number
  readonly schedule: Schedule.Schedule<unknown, E>
  readonly retryAfter: (error: E) => RetryAfter | undefined
  readonly retryAfterAtMostMillis: number
}

const isRetryAfter = Predicate.or(Duration.isDuration, Predicate.isString)

const retryAfterOf = (error: unknown): RetryAfter | undefined =>
  Predicate.hasProperty(error, "retryAfter") && isRetryAfter(error.retryAfter) ? error.retryAfter : undefined

const defaultSchedule = decorrelatedJitter({ base: "100 millis", cap: "10 seconds" })

/** Checks the options; all that is wrong is in one error. */
export const make = <E>(options: RetryOptions<E>): Effect.Effect<RetryPolicy<E>, InvalidSettings> => {
  const policy: RetryPolicy<E> = {
    name: options.name,
    retryable: options.retryable,
    call: options.call,
    maxAttempts: options.maxAttempts ?? 3,
    schedule: options.schedule ?? defaultSchedule,
    retryAfter: options.retryAfter ?? retryAfterOf,
    retryAfterAtMostMillis: Duration.toMillis(options.retryAfterAtMost ?? "1 minute")
  }
  return checked(`The retry policy "${options.name}"`, policy, [
    wholeNumber("maxAttempts", policy.maxAttempts, 1, 1_000),
    timeSpan("retryAfterAtMost", policy.retryAfterAtMostMillis)
  ])
}

/** The milliseconds that a `Retry-After` asks to wait, cut to the cap; 0 for none and for one that is malformed. */
export const askedMillis = (asked: RetryAfter | undefined, atMostMillis: number, now: number): number => {
  if (asked === undefined) return 0
  const parsed = typeof asked === "string"
    ? Result.map(Headers.parseRetryAfter(asked), (after) => Headers.retryAfterDelay(after, now))
    : Result.succeed(asked)
  if (Result.isFailure(parsed)) return 0
  return Math.max(0, Math.min(Duration.toMillis(parsed.success), atMostMillis))
}

/** Whether repeating the call does its work at most once. */
export const mayRepeat = (call: Repeatability): boolean =>
  call._tag === "Safe" || (call.idempotencyKey !== undefined && call.idempotencyKey !== "")

/** What came of a failed attempt, as the metric names it. */
type Ending = "retried" | "not_retryable" | "unsafe" | "exhausted" | "deadline" | "budget"

const count = (policy: { readonly name: string }, decision: Ending): Effect.Effect<void> =>
  Metric.update(
    Metric.counter("retry_failed_attempts_total", {
      attributes: { policy: policy.name, decision },
      incremental: true
    }),
    1
  )

/** The errors of a cause that holds nothing else; a defect or an interruption makes it none of a retry's business. */
const errorsOf = <E>(cause: Cause.Cause<E>): ReadonlyArray<E> =>
  cause.reasons.every(Cause.isFailReason) ? cause.reasons.filter(Cause.isFailReason).map(({ error }) => error) : []

type Step<E> = (now: number, error: E) => Pull.Pull<[unknown, Duration.Duration], never, unknown>

const loop = <A, E, R>(
  attempt: Effect.Effect<A, E, R>,
  policy: RetryPolicy<E>,
  call: Repeatability,
  budget: RetryBudget | undefined,
  step: Step<E> | undefined,
  attempts: number,
  cause: Cause.Cause<E>
): Effect.Effect<A, E, R> => {
  const giveUp = (ending: Ending) => Effect.andThen(count(policy, ending), Effect.failCause(cause))
  const errors = errorsOf(cause)
  const error = errors.find((error) => policy.retryable(error))
  if (error === undefined || !errors.every((error) => policy.retryable(error))) return giveUp("not_retryable")
  if (!mayRepeat(call)) return giveUp("unsafe")
  if (attempts >= policy.maxAttempts) return giveUp("exhausted")
  return Effect.gen(function*() {
    const next = step ?? (yield* Schedule.toStep(policy.schedule))
    const now = yield* Clock.currentTimeMillis
    const scheduled = yield* Pull.matchEffect(next(now, error), {
      onSuccess: ([, delay]) => Effect.succeed<number | undefined>(Duration.toMillis(delay)),
      onFailure: Effect.failCause,
      onDone: () => Effect.undefined
    })
    if (scheduled === undefined) return yield* giveUp("exhausted")
    const asked = errors.map((error) => askedMillis(policy.retryAfter(error), policy.retryAfterAtMostMillis, now))
    const delay = Math.max(scheduled, ...asked)
    // An attempt that could only begin at the deadline or after it is not worth waiting for.
    if (delay >= (yield* remainingMillis)) return yield* giveUp("deadline")
    if (budget !== undefined && !budget.withdraw()) return yield* giveUp("budget")
    yield* count(policy, "retried")
    yield* Effect.sleep(Duration.millis(delay))
    return yield* Effect.catchCause(attempt, (cause) => loop(attempt, policy, call, budget, next, attempts + 1, cause))
  })
}

/**
 * Repeats `self` as the policy says; the error of the last attempt is kept, whatever ends the retries. `call` takes the
 * place of the policy's own where calls differ. The retries take from the budget in the fiber's context (see
 * `RetryBudget`), and none begins once the deadline there has passed (see `Deadline`).
 */
export const retry: {
  <E>(
    policy: RetryPolicy<E>,
    call?: Repeatability
  ): <A, E2 extends E, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, policy: RetryPolicy<E>, call?: Repeatability): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    policy: RetryPolicy<E>,
    call: Repeatability = policy.call
  ): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) => {
      const { attempt, budget } = countRequest(fiber, self)
      return Effect.catchCause(attempt, (cause) => loop(attempt, policy, call, budget, undefined, 1, cause))
    })
)
