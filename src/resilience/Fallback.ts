/**
 * An answer in place of an error. A fallback handles exactly the errors that it names, and those leave the error type of
 * the call: what it does not name, a defect and an interruption pass through it as they are.
 *
 * ```ts
 * const usual = yield* Fallback.make({
 *   name: "recommendations",
 *   handles: Fallback.errors(CircuitOpen, TimedOut),
 *   answer: () => Effect.succeed(bestsellers)
 * })
 * // Effect<Books, CircuitOpen | TimedOut | NoSuchReader> becomes Effect<Books, NoSuchReader>
 * const safe = call.pipe(Fallback.orElse(usual))
 * ```
 *
 * For the answer that the call itself gave last, see `LastAnswers`.
 */
import { Cause, Effect } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
import { CallOutcomes } from "./CallOutcomes.ts"
import { show } from "./PulledMetrics.ts"

export interface FallbackOptions<Handled, B, E2, R2> {
  /** Names the fallback in metrics. */
  readonly name: string
  /** Which errors it answers: see `errors`. */
  readonly handles: (error: unknown) => error is Handled
  /** What is answered; its own errors join those of the call. */
  readonly answer: (error: Handled) => Effect.Effect<B, E2, R2>
}

export interface Fallback<in out Handled, out B, out E2, out R2> extends FallbackOptions<Handled, B, E2, R2> {
  readonly calls: CallOutcomes
  /** Counts an answer in place of an error. */
  readonly count: () => void
}

/** The errors of these classes. */
export const errors =
  <Classes extends ReadonlyArray<new(...args: never) => unknown>>(...classes: Classes) =>
  (error: unknown): error is InstanceType<Classes[number]> => classes.some((one) => error instanceof one)

/** A fallback, which is shown in the metrics for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*<Handled, B, E2 = never, R2 = never>(
    options: FallbackOptions<Handled, B, E2, R2>
  ): Effect.fn.Return<Fallback<Handled, B, E2, R2>, never, Scope.Scope> {
    const calls = new CallOutcomes()
    let answered = 0
    const attributes = { fallback: options.name }
    yield* show([
      ...calls.readings("fallback_calls", attributes),
      { type: "Counter", id: "fallback_answers_total", attributes, read: () => answered }
    ])
    return {
      ...options,
      calls,
      count: () => {
        answered++
      }
    }
  }
)

/** What a cause leaves once the errors that are handled are taken out of it, and the first of these. */
const split = <E, Handled>(cause: Cause.Cause<E>, handles: (error: unknown) => error is Handled) => {
  const handled: Array<Handled> = []
  const left: Array<Cause.Reason<Exclude<E, Handled>>> = []
  const isLeft = (error: E): error is Exclude<E, Handled> => !handles(error)
  for (const reason of cause.reasons) {
    if (!Cause.isFailReason(reason)) left.push(reason)
    else if (isLeft(reason.error)) left.push(Cause.makeFailReason(reason.error))
    else if (handles(reason.error)) handled.push(reason.error)
  }
  return { first: handled[0], left }
}

/**
 * Answers with the fallback where `self` fails with nothing but errors that it handles. An error of several, of which
 * others are not handled, fails with those.
 */
export const orElse: {
  <Handled, B, E2, R2>(
    fallback: Fallback<Handled, B, E2, R2>
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A | B, Exclude<E, Handled> | E2, R | R2>
  <A, E, R, Handled, B, E2, R2>(
    self: Effect.Effect<A, E, R>,
    fallback: Fallback<Handled, B, E2, R2>
  ): Effect.Effect<A | B, Exclude<E, Handled> | E2, R | R2>
} = dual(
  2,
  <A, E, R, Handled, B, E2, R2>(
    self: Effect.Effect<A, E, R>,
    fallback: Fallback<Handled, B, E2, R2>
  ): Effect.Effect<A | B, Exclude<E, Handled> | E2, R | R2> =>
    fallback.calls.observe(
      Effect.catchCause(self, (cause): Effect.Effect<B, Exclude<E, Handled> | E2, R2> => {
        const { first, left } = split(cause, fallback.handles)
        if (first === undefined || left.length > 0) return Effect.failCause(Cause.fromReasons(left))
        fallback.count()
        return fallback.answer(first)
      })
    )
)
