/**
 * What the pure cores say. Times are whole milliseconds of the store's clock, costs whole positive numbers: with both
 * integers every comparison is exact, here and in a Lua script's doubles alike, and so is every quotient that is rounded
 * to a whole: `Policy` keeps all products below 2^53, where `a / b` cannot round past an integer.
 */

/** The call may go on, and `cost` has been taken. */
export interface Admitted {
  readonly _tag: "Admitted"
  /** What could still be taken now, at once. */
  readonly remaining: number
  /** Until nothing taken so far counts any more. */
  readonly resetMillis: number
  /** When it was taken, in the store's time, and what was owed with it: what settling it needs to know. */
  readonly at: number
  readonly owed: number
}

/** Nothing was taken. */
export interface Refused {
  readonly _tag: "Refused"
  readonly remaining: number
  readonly resetMillis: number
  /** Waiting this long admits the same cost if nobody else takes any; 1 ms less does not. */
  readonly retryAfterMillis: number
}

/** No wait would ever admit it: the cost is above the capacity, or not a whole positive number. */
export interface Impossible {
  readonly _tag: "Impossible"
  readonly capacity: number
}

export type Decision = Admitted | Refused | Impossible

/** What is left of a limit, for header fields and the admin's view. */
export interface Left {
  readonly remaining: number
  readonly resetMillis: number
}

/** One step of a pure core; a state that was never used is `undefined`. */
export interface Step<S> {
  readonly state: S | undefined
  readonly decision: Decision
}

export const isPossible = (cost: number, capacity: number): boolean =>
  Number.isSafeInteger(cost) && cost >= 1 && cost <= capacity

/**
 * The time a state last seen at `at` goes on from. A clock that is behind by up to a window stands still until it has
 * caught up, so that no time counts twice. One that is further behind was set back: the state goes on from `now` with
 * all it holds, so that nobody waits longer than a window for the clock.
 */
export const resume = (at: number, now: number, windowMillis: number): number =>
  at > now && at - now <= windowMillis ? at : now

/** A clock set back by more than a window: the state must move to the new time even when the call is refused. */
export const isSetBack = (at: number, now: number, windowMillis: number): boolean => at - now > windowMillis

/**
 * What is left of a bucket's charge: debts are repaid, `rate` a millisecond, in the order they were made. Nothing when
 * the clock has been set to before the charge, because how much was repaid is then unknown.
 */
export const outstandingOf = (charge: Admitted, rate: number, time: number): number =>
  time < charge.at ? 0 : Math.max(0, charge.owed - (time - charge.at) * rate)
