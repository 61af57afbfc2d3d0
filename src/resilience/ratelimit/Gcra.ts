/**
 * The leaky bucket as the generic cell rate algorithm (ITU-T I.371, virtual scheduling): one theoretical arrival time
 * a key. It is kept as whole milliseconds and a remainder of `1/limit` of one, so that no rate is rounded.
 */
import { isPossible, isSetBack, outstandingOf, resume } from "./Decision.ts"
import type { Admitted, Left, Step } from "./Decision.ts"
import type { RateLimitPolicy } from "./Policy.ts"

export interface Gcra {
  readonly _tag: "Gcra"
  readonly policy: RateLimitPolicy
  /** When the state last changed. */
  readonly at: number
  /** The theoretical arrival time: `arrival + fraction / limit` milliseconds. */
  readonly arrival: number
  readonly fraction: number
}

/** How far the theoretical arrival lies ahead of `time`, in `1/limit` of a millisecond. */
const lead = (state: Gcra | undefined, time: number): number =>
  state === undefined ? 0 : Math.max(0, (state.arrival - time) * state.policy.limit + state.fraction)

/** The state on the clock of `now`, moved along with a clock that was set back. */
const onClock = (state: Gcra | undefined, now: number): Gcra | undefined =>
  state !== undefined && isSetBack(state.at, now, state.policy.windowMillis)
    ? { ...state, at: now, arrival: state.arrival - (state.at - now) }
    : state

const timeOf = (policy: RateLimitPolicy, state: Gcra | undefined, now: number): number =>
  state === undefined ? now : resume(state.at, now, policy.windowMillis)

const arriving = (policy: RateLimitPolicy, at: number, ahead: number): Gcra => ({
  _tag: "Gcra",
  policy,
  at,
  arrival: at + Math.floor(ahead / policy.limit),
  fraction: ahead % policy.limit
})

export const decide = (
  policy: RateLimitPolicy,
  stored: Gcra | undefined,
  cost: number,
  now: number
): Step<Gcra> => {
  const { capacity, limit, windowMillis } = policy
  if (!isPossible(cost, capacity)) return { state: stored, decision: { _tag: "Impossible", capacity } }
  const state = onClock(stored, now)
  const time = timeOf(policy, state, now)
  const before = lead(state, time)
  const after = before + cost * windowMillis
  const early = after - capacity * windowMillis
  if (early > 0) {
    return {
      state,
      decision: {
        _tag: "Refused",
        remaining: Math.max(0, Math.floor((capacity * windowMillis - before) / windowMillis)),
        resetMillis: time - now + Math.ceil(before / limit),
        retryAfterMillis: time - now + Math.ceil(early / limit)
      }
    }
  }
  return {
    state: arriving(policy, time, after),
    decision: {
      _tag: "Admitted",
      remaining: Math.floor((capacity * windowMillis - after) / windowMillis),
      resetMillis: time - now + Math.ceil(after / limit),
      at: time,
      owed: after
    }
  }
}

export const inspect = (policy: RateLimitPolicy, stored: Gcra | undefined, now: number): Left => {
  const state = onClock(stored, now)
  const time = timeOf(policy, state, now)
  const ahead = lead(state, time)
  return {
    remaining: Math.max(0, Math.floor((policy.capacity * policy.windowMillis - ahead) / policy.windowMillis)),
    resetMillis: ahead === 0 ? 0 : time - now + Math.ceil(ahead / policy.limit)
  }
}

/** As for the token bucket: no more comes back than still lies ahead, no more is owed than twice the capacity. */
export const settle = (
  policy: RateLimitPolicy,
  stored: Gcra | undefined,
  charge: Admitted,
  difference: number,
  now: number
): Gcra | undefined => {
  const state = onClock(stored, now)
  const time = timeOf(policy, state, now)
  const ahead = lead(state, time)
  if (difference < 0) {
    if (state === undefined) return state
    const outstanding = outstandingOf(charge, policy.limit, time)
    return arriving(policy, time, ahead - Math.min(-difference * policy.windowMillis, outstanding, ahead))
  }
  const most = Math.max(ahead, 2 * policy.capacity * policy.windowMillis)
  return arriving(policy, time, Math.min(ahead + difference * policy.windowMillis, most))
}

export const used = (stored: Gcra, now: number): number => {
  const state = onClock(stored, now)
  return Math.ceil(lead(state, timeOf(stored.policy, state, now)) / stored.policy.windowMillis)
}

/** How long until no more than `atMost` is used. */
export const untilUsed = (stored: Gcra, atMost: number, now: number): number => {
  const { limit, windowMillis } = stored.policy
  const state = onClock(stored, now)
  const time = timeOf(stored.policy, state, now)
  const excess = lead(state, time) - atMost * windowMillis
  return excess <= 0 ? 0 : time - now + Math.ceil(excess / limit)
}

/** A state with `amount` used, at most the capacity. */
export const occupy = (policy: RateLimitPolicy, amount: number, now: number): Gcra =>
  arriving(policy, now, amount * policy.windowMillis)
