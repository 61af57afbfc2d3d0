import { DateTime, Duration } from "effect"
import type { Clock } from "effect"
import { monotonicMillis } from "../MonotonicTime.ts"

/** A value and how old it is, so that nobody takes an old answer for a new one. */
export interface Labelled<A> {
  readonly value: A
  /** The moment as of which the value holds. It may hold longer, but is not older. */
  readonly asOf: DateTime.Utc
  readonly age: Duration.Duration
  /** Whether it is served for want of a fresh one. */
  readonly isStale: boolean
}

/** A value that is kept, and when it was asked for. */
export interface Dated<A> {
  readonly value: A
  readonly asOf: DateTime.Utc
  /** The same moment on the clock that is never set back, so that ages are true. */
  readonly atMillis: number
}

/** A moment that values are dated by: before their work begins, since they may be read at any time in it. */
export type Moment = Omit<Dated<never>, "value">

export const moment = (clock: Clock.Clock): Moment => ({
  asOf: DateTime.makeUnsafe(clock.currentTimeMillisUnsafe()),
  atMillis: monotonicMillis(clock)
})

export const labelled = <A>({ asOf, atMillis, value }: Dated<A>, nowMillis: number, isStale: boolean): Labelled<A> => ({
  value,
  asOf,
  age: Duration.millis(nowMillis - atMillis),
  isStale
})
