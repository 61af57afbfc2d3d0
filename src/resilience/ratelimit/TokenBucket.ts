/**
 * A bucket that refills continuously, kept as the debt that is still to be refilled. A token is counted as
 * `windowMillis` units and `limit` units return each millisecond, which keeps every rate an integer.
 */
import { isPossible, isSetBack, outstandingOf, resume } from "./Decision.ts"
import type { Admitted, Left, Step } from "./Decision.ts"
import type { RateLimitPolicy } from "./Policy.ts"

export interface TokenBucket {
  readonly _tag: "TokenBucket"
  readonly policy: RateLimitPolicy
  /** When `debt` was true. */
  readonly at: number
  readonly debt: number
}

const debtAt = (state: TokenBucket | undefined, time: number): number =>
  state === undefined ? 0 : Math.max(0, state.debt - Math.max(0, time - state.at) * state.policy.limit)

const timeOf = (policy: RateLimitPolicy, state: TokenBucket | undefined, now: number): number =>
  state === undefined ? now : resume(state.at, now, policy.windowMillis)

export const decide = (
  policy: RateLimitPolicy,
  state: TokenBucket | undefined,
  cost: number,
  now: number
): Step<TokenBucket> => {
  const { capacity, limit, windowMillis } = policy
  if (!isPossible(cost, capacity)) return { state, decision: { _tag: "Impossible", capacity } }
  const time = timeOf(policy, state, now)
  const before = debtAt(state, time)
  const debt = before + cost * windowMillis
  const excess = debt - capacity * windowMillis
  if (excess > 0) {
    return {
      state: state !== undefined && isSetBack(state.at, now, windowMillis) ? { ...state, at: now } : state,
      decision: {
        _tag: "Refused",
        remaining: Math.max(0, Math.floor((capacity * windowMillis - before) / windowMillis)),
        resetMillis: time - now + Math.ceil(before / limit),
        retryAfterMillis: time - now + Math.ceil(excess / limit)
      }
    }
  }
  return {
    state: { _tag: "TokenBucket", policy, at: time, debt },
    decision: {
      _tag: "Admitted",
      remaining: Math.floor((capacity * windowMillis - debt) / windowMillis),
      resetMillis: time - now + Math.ceil(debt / limit),
      at: time,
      owed: debt
    }
  }
}

export const inspect = (policy: RateLimitPolicy, state: TokenBucket | undefined, now: number): Left => {
  const time = timeOf(policy, state, now)
  const debt = debtAt(state, time)
  return {
    remaining: Math.max(0, Math.floor((policy.capacity * policy.windowMillis - debt) / policy.windowMillis)),
    resetMillis: debt === 0 ? 0 : time - now + Math.ceil(debt / policy.limit)
  }
}

/**
 * Debts are refilled in the order they were made. Less therefore gives back no more than what has not been refilled
 * yet; more is owed at once, up to twice the capacity, so that one wrong estimate does not close a key for long.
 */
export const settle = (
  policy: RateLimitPolicy,
  state: TokenBucket | undefined,
  charge: Admitted,
  difference: number,
  now: number
): TokenBucket | undefined => {
  const time = timeOf(policy, state, now)
  const debt = debtAt(state, time)
  if (difference < 0) {
    if (state === undefined) return state
    const outstanding = outstandingOf(charge, policy.limit, time)
    return { ...state, at: time, debt: debt - Math.min(-difference * policy.windowMillis, outstanding, debt) }
  }
  const most = Math.max(debt, 2 * policy.capacity * policy.windowMillis)
  return { _tag: "TokenBucket", policy, at: time, debt: Math.min(debt + difference * policy.windowMillis, most) }
}

export const used = (state: TokenBucket, now: number): number =>
  Math.ceil(debtAt(state, timeOf(state.policy, state, now)) / state.policy.windowMillis)

/** How long until no more than `atMost` is used. */
export const untilUsed = (state: TokenBucket, atMost: number, now: number): number => {
  const { limit, windowMillis } = state.policy
  const time = timeOf(state.policy, state, now)
  const excess = debtAt(state, time) - atMost * windowMillis
  return excess <= 0 ? 0 : time - now + Math.ceil(excess / limit)
}

/** A state with `amount` used, at most the capacity. */
export const occupy = (policy: RateLimitPolicy, amount: number, now: number): TokenBucket => ({
  _tag: "TokenBucket",
  policy,
  at: now,
  debt: amount * policy.windowMillis
})
