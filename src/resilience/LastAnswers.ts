/**
 * Stale answers in place of errors: the last good answer of each key is kept, in bounded memory and for a bounded time,
 * and given again while there is no better one. Every call is made all the same; a cache that also spares calls is
 * `SingleFlightCache`.
 *
 * ```ts
 * const last = yield* LastAnswers.make<Rates, RatesError>({ name: "rates", capacity: 1_000, within: "10 minutes" })
 * // Fails only where there is no answer of the last ten minutes; says how old the answer is.
 * const rates = fetchRates(currency).pipe(LastAnswers.orLast(last, currency))
 * ```
 */
import { Cause, Clock, Duration, Effect } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
import { labelled, moment } from "./cache/Labelled.ts"
import type { Dated, Labelled } from "./cache/Labelled.ts"
import { LeastRecentlyUsed } from "./cache/LeastRecentlyUsed.ts"
import { CallOutcomes } from "./CallOutcomes.ts"
import { checked, timeSpan, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { monotonicMillis } from "./MonotonicTime.ts"
import { show } from "./PulledMetrics.ts"

export interface LastAnswersOptions<in E> {
  /** Names it in metrics. */
  readonly name: string
  /** Answers kept at once, those used least lately leaving first. */
  readonly capacity: number
  /** How old an answer may be that is given again, from when its call began. */
  readonly within: Duration.Input
  /** In place of which errors; a defect is never hidden. Default all. */
  readonly when?: ((error: E) => boolean) | undefined
}

export interface LastAnswers<in out A, in E> {
  readonly name: string
  readonly withinMillis: number
  readonly when: (error: E) => boolean
  readonly answers: LeastRecentlyUsed<Dated<A>>
  readonly calls: CallOutcomes
  /** Counts an old answer in place of an error. */
  readonly count: () => void
}

const everything = () => true

/** Keeps answers, and is shown in the metrics, for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*<A, E = unknown>(
    options: LastAnswersOptions<E>
  ): Effect.fn.Return<LastAnswers<A, E>, InvalidSettings, Scope.Scope> {
    const { capacity, name, when = everything } = options
    const withinMillis = Duration.toMillis(options.within)
    yield* checked(`The last answers "${name}"`, undefined, [
      wholeNumber("capacity", capacity, 1, 10_000_000),
      timeSpan("within", withinMillis)
    ])
    const answers = new LeastRecentlyUsed<Dated<A>>(capacity)
    const calls = new CallOutcomes()
    let stale = 0
    const attributes = { answers: name }
    yield* show([
      ...calls.readings("last_answers_calls", attributes),
      { type: "Counter", id: "last_answers_stale_total", attributes, read: () => stale },
      { type: "Counter", id: "last_answers_evictions_total", attributes, read: () => answers.evicted },
      { type: "Gauge", id: "last_answers_kept", attributes, read: () => answers.size }
    ])
    return {
      name,
      withinMillis,
      when,
      answers,
      calls,
      count: () => {
        stale++
      }
    }
  }
)

const isCovered = <E>({ reasons }: Cause.Cause<E>, when: (error: E) => boolean): boolean =>
  reasons.length > 0 && reasons.every((reason) => Cause.isFailReason(reason) && when(reason.error))

const view = <A, E, R, B>(
  self: Effect.Effect<A, E, R>,
  last: LastAnswers<A, E>,
  key: string,
  see: (entry: Dated<A>, now: number, isStale: boolean) => B
): Effect.Effect<B, E, R> =>
  last.calls.observe(Effect.clockWith((clock: Clock.Clock) => {
    const began = moment(clock)
    return Effect.matchCauseEffect(self, {
      onSuccess: (value) => {
        const entry = { ...began, value }
        const kept = last.answers.peek(key)
        // Of two calls at once the one that began later knows the newer state, whichever ends last.
        if (kept === undefined || kept.atMillis <= began.atMillis) last.answers.set(key, entry)
        return Effect.succeed(see(entry, monotonicMillis(clock), false))
      },
      onFailure: (cause): Effect.Effect<B, E> => {
        const entry = last.answers.get(key)
        const now = monotonicMillis(clock)
        if (entry === undefined || !isCovered(cause, last.when)) return Effect.failCause(cause)
        if (now - entry.atMillis >= last.withinMillis) {
          last.answers.delete(key)
          return Effect.failCause(cause)
        }
        last.count()
        return Effect.succeed(see(entry, now, true))
      }
    })
  }))

/** Answers as the call does, or as it did last for this key; labelled, so that nobody takes an old answer for a new one. */
export const orLast: {
  <A, E>(
    last: LastAnswers<A, E>,
    key: string
  ): <E2 extends E, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<Labelled<A>, E2, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, last: LastAnswers<A, E>, key: string): Effect.Effect<Labelled<A>, E, R>
} = dual(
  3,
  <A, E, R>(self: Effect.Effect<A, E, R>, last: LastAnswers<A, E>, key: string): Effect.Effect<Labelled<A>, E, R> =>
    view(self, last, key, labelled)
)

/** The same without the label, where the age of an answer does not matter. */
export const orLastValue: {
  <A, E>(
    last: LastAnswers<A, E>,
    key: string
  ): <A2 extends A, E2 extends E, R>(self: Effect.Effect<A2, E2, R>) => Effect.Effect<A, E2, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, last: LastAnswers<A, E>, key: string): Effect.Effect<A, E, R>
} = dual(
  3,
  <A, E, R>(self: Effect.Effect<A, E, R>, last: LastAnswers<A, E>, key: string): Effect.Effect<A, E, R> =>
    view(self, last, key, ({ value }) => value)
)
