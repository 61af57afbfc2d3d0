/**
 * What the limits mean, said by brute force over the whole history of what was admitted: no state, no debt, no arrival
 * times. Written from the laws, not from the cores.
 */
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"

export interface Entry {
  readonly at: number
  readonly cost: number
}

const sum = (entries: ReadonlyArray<Entry>): number => entries.reduce((total, { cost }) => total + cost, 0)

/** Whether admitting `cost` at `now` keeps every bound of the policy; `history` is what was admitted before. */
export const fits = (
  { algorithm, capacity, limit, windowMillis }: RateLimitPolicy,
  history: ReadonlyArray<Entry>,
  cost: number,
  now: number
): boolean => {
  switch (algorithm) {
    case "fixed-window": {
      const window = (at: number) => Math.floor(at / windowMillis)
      return sum(history.filter(({ at }) => window(at) === window(now))) + cost <= limit
    }
    case "sliding-window":
      return sum(history.filter(({ at }) => at > now - windowMillis)) + cost <= limit
    case "token-bucket":
    case "leaky-bucket":
      // In every interval from an admission to now: cost <= burst + rate * length, times the window to stay whole
      return [...history, { at: now, cost: 0 }].every(({ at: from }) =>
        (sum(history.filter(({ at }) => at >= from)) + cost) * windowMillis <=
          capacity * windowMillis + limit * (now - from)
      )
  }
}

/** The shortest wait after which it fits, found by trying each millisecond. */
export const shortestWait = (
  policy: RateLimitPolicy,
  history: ReadonlyArray<Entry>,
  cost: number,
  now: number
): number => {
  let wait = 0
  while (!fits(policy, history, cost, now + wait)) wait++
  return wait
}

/** The most that fits at once. */
export const most = (policy: RateLimitPolicy, history: ReadonlyArray<Entry>, now: number): number => {
  let cost = 0
  while (fits(policy, history, cost + 1, now)) cost++
  return cost
}
