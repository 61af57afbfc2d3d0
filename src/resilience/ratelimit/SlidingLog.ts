/** The exact sliding window: what was taken, and when, over the last window `(now - window, now]`. */
import { isPossible, isSetBack, resume } from "./Decision.ts"
import type { Admitted, Left, Step } from "./Decision.ts"
import type { RateLimitPolicy } from "./Policy.ts"

export interface SlidingLog {
  readonly _tag: "SlidingLog"
  readonly policy: RateLimitPolicy
  /**
   * Entries `start` to `end`, oldest first. Successive states share the arrays: only the one that ends where the arrays
   * end appends to them, so an admission takes constant time and no earlier state can see it.
   */
  readonly times: Array<number>
  readonly costs: Array<number>
  readonly start: number
  readonly end: number
  readonly total: number
}

const empty = (policy: RateLimitPolicy): SlidingLog => ({
  _tag: "SlidingLog",
  policy,
  times: [],
  costs: [],
  start: 0,
  end: 0,
  total: 0
})

/** When the newest entry was made. */
export const lastSeen = ({ end, times }: SlidingLog): number => times[end - 1] ?? Number.NEGATIVE_INFINITY

const timeOf = (state: SlidingLog, now: number): number => resume(lastSeen(state), now, state.policy.windowMillis)

const isBehind = (state: SlidingLog, now: number): boolean => isSetBack(lastSeen(state), now, state.policy.windowMillis)

/** The log on the clock of `now` under `policy`, whichever it was kept under, without what has left the window. */
const current = (policy: RateLimitPolicy, stored: SlidingLog | undefined, now: number): SlidingLog => {
  if (stored === undefined) return empty(policy)
  const under = stored.policy === policy ? stored : { ...stored, policy }
  const state = isBehind(under, now) ? shifted(under, lastSeen(under) - now) : under
  const { costs, end, times } = state
  const edge = timeOf(state, now) - policy.windowMillis
  let { start, total } = state
  for (; start < end && (times[start] ?? 0) <= edge; start++) total -= costs[start] ?? 0
  return start === state.start ? state : { ...state, start, total }
}

const shifted = (state: SlidingLog, millis: number): SlidingLog => ({
  ...state,
  times: state.times.slice(state.start, state.end).map((time) => time - millis),
  costs: state.costs.slice(state.start, state.end),
  start: 0,
  end: state.end - state.start
})

const append = (state: SlidingLog, time: number, cost: number): SlidingLog => {
  const isShared = state.times.length !== state.end
  const isMostlyGone = state.start > 16 && state.start * 2 > state.end
  const kept = isShared || isMostlyGone ? shifted(state, 0) : state
  kept.times.push(time)
  kept.costs.push(cost)
  return { ...kept, end: kept.end + 1, total: kept.total + cost }
}

/** How long until the oldest entries that hold `excess` have left the window. */
const untilFreed = ({ costs, end, policy, start, times }: SlidingLog, excess: number, now: number): number => {
  let freed = 0
  for (let index = start; index < end; index++) {
    freed += costs[index] ?? 0
    if (freed >= excess) return (times[index] ?? now) + policy.windowMillis - now
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
  const costs = own.costs.map((cost, index) => {
    if (own.times[index] !== charge.at) return cost
    const back = Math.min(cost, left)
    left -= back
    return cost - back
  })
  return { ...own, costs, total: own.total + difference + left }
}

export const used = (state: SlidingLog, now: number): number => current(state.policy, state, now).total

/** How long until no more than `atMost` is used. */
export const untilUsed = (stored: SlidingLog, atMost: number, now: number): number => {
  const state = current(stored.policy, stored, now)
  return state.total <= atMost ? 0 : untilFreed(state, state.total - atMost, now)
}

export const occupy = (policy: RateLimitPolicy, amount: number, now: number): SlidingLog =>
  amount === 0 ? empty(policy) : append(empty(policy), now, amount)
