/** The exact sliding window: what was taken, and when, over the last window `(now - window, now]`. */
import { isPossible, isSetBack, resume } from "./Decision.ts"
import type { Admitted, Left, Step } from "./Decision.ts"
import type { RateLimitPolicy } from "./Policy.ts"

export interface SlidingLog {
  readonly _tag: "SlidingLog"
  readonly policy: RateLimitPolicy
  /**
   * A time and a cost in turn, from `start` up to `end`, oldest first. Successive states share the array: only the one
   * that ends where the array ends appends to it, so an admission takes constant time and no earlier state can see it.
   */
  readonly entries: Array<number>
  readonly start: number
  readonly end: number
  readonly total: number
}

const empty = (policy: RateLimitPolicy): SlidingLog => ({
  _tag: "SlidingLog",
  policy,
  entries: [],
  start: 0,
  end: 0,
  total: 0
})

/** When the newest entry was made. */
export const lastSeen = ({ end, entries }: SlidingLog): number => entries[end - 2] ?? Number.NEGATIVE_INFINITY

const timeOf = (state: SlidingLog, now: number): number => resume(lastSeen(state), now, state.policy.windowMillis)

const isBehind = (state: SlidingLog, now: number): boolean => isSetBack(lastSeen(state), now, state.policy.windowMillis)

/** The log on the clock of `now` under `policy`, whichever it was kept under, without what has left the window. */
const current = (policy: RateLimitPolicy, stored: SlidingLog | undefined, now: number): SlidingLog => {
  if (stored === undefined) return empty(policy)
  const under = stored.policy === policy ? stored : { ...stored, policy }
  const state = isBehind(under, now) ? shifted(under, lastSeen(under) - now) : under
  const { end, entries } = state
  const edge = timeOf(state, now) - policy.windowMillis
  let { start, total } = state
  for (; start < end && (entries[start] ?? 0) <= edge; start += 2) total -= entries[start + 1] ?? 0
  return start === state.start ? state : { ...state, start, total }
}

const isTime = (index: number): boolean => index % 2 === 0

const shifted = (state: SlidingLog, millis: number): SlidingLog => ({
  ...state,
  entries: state.entries.slice(state.start, state.end).map((value, index) => isTime(index) ? value - millis : value),
  start: 0,
  end: state.end - state.start
})

const append = (state: SlidingLog, time: number, cost: number): SlidingLog => {
  const { policy } = state
  // Most keys are seen once: an array made with its entry takes a tenth of the memory of one that was appended to
  if (state.start === state.end) {
    return { _tag: "SlidingLog", policy, entries: [time, cost], start: 0, end: 2, total: state.total + cost }
  }
  const isShared = state.entries.length !== state.end
  const isMostlyGone = state.start > 32 && state.start * 2 > state.end
  const { end, entries, start, total } = isShared || isMostlyGone ? shifted(state, 0) : state
  entries.push(time, cost)
  return { _tag: "SlidingLog", policy, entries, start, end: end + 2, total: total + cost }
}

/** How long until the oldest entries that hold `excess` have left the window. */
const untilFreed = ({ end, entries, policy, start }: SlidingLog, excess: number, now: number): number => {
  let freed = 0
  for (let index = start; index < end; index += 2) {
    freed += entries[index + 1] ?? 0
    if (freed >= excess) return (entries[index] ?? now) + policy.windowMillis - now
  }
  return 0
}

const resetOf = (state: SlidingLog, now: number): number =>
  state.total === 0 ? 0 : lastSeen(state) + state.policy.windowMillis - now

export const decide = (
  policy: RateLimitPolicy,
  stored: SlidingLog | undefined,
  cost: number,
  now: number
): Step<SlidingLog> => {
  const { limit } = policy
  if (!isPossible(cost, limit)) return { state: stored, decision: { _tag: "Impossible", capacity: limit } }
  const state = current(policy, stored, now)
  const excess = state.total + cost - limit
  if (excess > 0) {
    return {
      state: stored !== undefined && isSetBack(lastSeen(stored), now, policy.windowMillis) ? state : stored,
      decision: {
        _tag: "Refused",
        remaining: Math.max(0, limit - state.total),
        resetMillis: resetOf(state, now),
        retryAfterMillis: untilFreed(state, excess, now)
      }
    }
  }
  const time = timeOf(state, now)
  const next = append(state, time, cost)
  return {
    state: next,
    decision: {
      _tag: "Admitted",
      remaining: limit - next.total,
      resetMillis: resetOf(next, now),
      at: time,
      owed: next.total
    }
  }
}

export const inspect = (policy: RateLimitPolicy, stored: SlidingLog | undefined, now: number): Left => {
  const state = current(policy, stored, now)
  return { remaining: Math.max(0, policy.limit - state.total), resetMillis: resetOf(state, now) }
}

/** Less is taken out of the entries of the charge's own time, if they still count; more is an entry of now. */
export const settle = (
  policy: RateLimitPolicy,
  stored: SlidingLog | undefined,
  charge: Admitted,
  difference: number,
  now: number
): SlidingLog | undefined => {
  const state = current(policy, stored, now)
  if (difference > 0) {
    const most = Math.max(0, 2 * policy.capacity - state.total)
    return most === 0 ? state : append(state, timeOf(state, now), Math.min(difference, most))
  }
  let left = -difference
  const own = shifted(state, 0)
  if (own.end === 0) return undefined
  const entries = own.entries.map((value, index) => {
    if (isTime(index) || own.entries[index - 1] !== charge.at) return value
    const back = Math.min(value, left)
    left -= back
    return value - back
  })
  return { ...own, entries, total: own.total + difference + left }
}

export const used = (state: SlidingLog, now: number): number => current(state.policy, state, now).total

/** How long until no more than `atMost` is used. */
export const untilUsed = (stored: SlidingLog, atMost: number, now: number): number => {
  const state = current(stored.policy, stored, now)
  return state.total <= atMost ? 0 : untilFreed(state, state.total - atMost, now)
}

export const occupy = (policy: RateLimitPolicy, amount: number, now: number): SlidingLog =>
  amount === 0 ? empty(policy) : append(empty(policy), now, amount)
