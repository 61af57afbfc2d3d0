/** A counter per window, the windows aligned to the clock's zero. */
import { isPossible, isSetBack } from "./Decision.ts"
import type { Admitted, Left, Step } from "./Decision.ts"
import type { RateLimitPolicy } from "./Policy.ts"

export interface FixedWindow {
  readonly _tag: "FixedWindow"
  readonly policy: RateLimitPolicy
  /** When the counted window began. */
  readonly start: number
  readonly count: number
}

const startOf = (policy: RateLimitPolicy, now: number): number => now - now % policy.windowMillis

/** The state as it stands at `now`: a clock that is behind stays in the counted window. */
const current = (policy: RateLimitPolicy, state: FixedWindow | undefined, now: number): FixedWindow => {
  const start = startOf(policy, now)
  if (state === undefined || state.start < start) return { _tag: "FixedWindow", policy, start, count: 0 }
  return isSetBack(state.start, now, policy.windowMillis) ? { ...state, start } : state
}

export const decide = (
  policy: RateLimitPolicy,
  state: FixedWindow | undefined,
  cost: number,
  now: number
): Step<FixedWindow> => {
  if (!isPossible(cost, policy.limit)) return { state, decision: { _tag: "Impossible", capacity: policy.limit } }
  const window = current(policy, state, now)
  const resetMillis = window.start + policy.windowMillis - now
  const count = window.count + cost
  if (count > policy.limit) {
    return {
      state: state !== undefined && isSetBack(state.start, now, policy.windowMillis) ? window : state,
      decision: {
        _tag: "Refused",
        remaining: Math.max(0, policy.limit - window.count),
        resetMillis,
        retryAfterMillis: resetMillis
      }
    }
  }
  return {
    state: { _tag: "FixedWindow", policy, start: window.start, count },
    decision: { _tag: "Admitted", remaining: policy.limit - count, resetMillis, at: window.start, owed: count }
  }
}

export const inspect = (policy: RateLimitPolicy, state: FixedWindow | undefined, now: number): Left => {
  const { count, start } = current(policy, state, now)
  return {
    remaining: Math.max(0, policy.limit - count),
    resetMillis: count === 0 ? 0 : start + policy.windowMillis - now
  }
}

/** Less is given back only while its own window lasts; more counts in the window of now. */
export const settle = (
  policy: RateLimitPolicy,
  state: FixedWindow | undefined,
  charge: Admitted,
  difference: number,
  now: number
): FixedWindow | undefined => {
  if (difference < 0) {
    return state === undefined || state.start !== charge.at
      ? state
      : { ...state, count: Math.max(0, state.count + difference) }
  }
  const window = current(policy, state, now)
  return { ...window, count: Math.max(window.count, Math.min(window.count + difference, 2 * policy.capacity)) }
}

export const used = (state: FixedWindow, now: number): number => current(state.policy, state, now).count

/** How long until no more than `atMost` is used. */
export const untilUsed = (state: FixedWindow, atMost: number, now: number): number => {
  const { count, start } = current(state.policy, state, now)
  return count <= atMost ? 0 : start + state.policy.windowMillis - now
}

export const occupy = (policy: RateLimitPolicy, amount: number, now: number): FixedWindow => ({
  _tag: "FixedWindow",
  policy,
  start: startOf(policy, now),
  count: amount
})
