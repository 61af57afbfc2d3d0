/** The pure core over all algorithms: what a store runs atomically, each time on its own clock. */
import type { Admitted, Left, Step } from "./Decision.ts"
import * as FixedWindow from "./FixedWindow.ts"
import * as Gcra from "./Gcra.ts"
import type { RateLimitPolicy } from "./Policy.ts"
import * as SlidingLog from "./SlidingLog.ts"
import * as TokenBucket from "./TokenBucket.ts"

/** What is held for one key of one policy; `undefined` is a key that was never used. */
export type LimitState = FixedWindow.FixedWindow | SlidingLog.SlidingLog | TokenBucket.TokenBucket | Gcra.Gcra

/** Takes `cost` at `now` (milliseconds of the store's clock), or says why not and for how long. */
export const decide = (
  policy: RateLimitPolicy,
  stored: LimitState | undefined,
  cost: number,
  now: number
): Step<LimitState> => {
  const state = carry(policy, stored, now)
  switch (policy.algorithm) {
    case "fixed-window":
      return FixedWindow.decide(policy, state?._tag === "FixedWindow" ? state : undefined, cost, now)
    case "sliding-window":
      return SlidingLog.decide(policy, state?._tag === "SlidingLog" ? state : undefined, cost, now)
    case "token-bucket":
      return TokenBucket.decide(policy, state?._tag === "TokenBucket" ? state : undefined, cost, now)
    case "leaky-bucket":
      return Gcra.decide(policy, state?._tag === "Gcra" ? state : undefined, cost, now)
  }
}

/** What is left, without taking any. */
export const inspect = (policy: RateLimitPolicy, stored: LimitState | undefined, now: number): Left => {
  const state = carry(policy, stored, now)
  switch (policy.algorithm) {
    case "fixed-window":
      return FixedWindow.inspect(policy, state?._tag === "FixedWindow" ? state : undefined, now)
    case "sliding-window":
      return SlidingLog.inspect(policy, state?._tag === "SlidingLog" ? state : undefined, now)
    case "token-bucket":
      return TokenBucket.inspect(policy, state?._tag === "TokenBucket" ? state : undefined, now)
    case "leaky-bucket":
      return Gcra.inspect(policy, state?._tag === "Gcra" ? state : undefined, now)
  }
}

/**
 * Corrects an earlier charge by `difference`, the actual cost less the one charged. What has stopped counting is not
 * given back, so a correction never admits more than charging the actual cost at first would have. A charge above the
 * capacity is owed, up to twice the capacity.
 */
export const settle = (
  policy: RateLimitPolicy,
  stored: LimitState | undefined,
  charge: Admitted,
  difference: number,
  now: number
): LimitState | undefined => {
  const state = carry(policy, stored, now)
  if (difference === 0) return state
  switch (policy.algorithm) {
    case "fixed-window":
      return FixedWindow.settle(policy, state?._tag === "FixedWindow" ? state : undefined, charge, difference, now)
    case "sliding-window":
      return SlidingLog.settle(policy, state?._tag === "SlidingLog" ? state : undefined, charge, difference, now)
    case "token-bucket":
      return TokenBucket.settle(policy, state?._tag === "TokenBucket" ? state : undefined, charge, difference, now)
    case "leaky-bucket":
      return Gcra.settle(policy, state?._tag === "Gcra" ? state : undefined, charge, difference, now)
  }
}

/** A state that was counted under another limit, window or algorithm goes on with as much used as there was. */
const carry = (policy: RateLimitPolicy, state: LimitState | undefined, now: number): LimitState | undefined => {
  if (state === undefined || state.policy.isSameAs(policy)) return state
  if (state._tag === "SlidingLog" && policy.algorithm === "sliding-window") return SlidingLog.under(policy, state)
  return occupy(policy, used(state, now), now)
}

const used = (state: LimitState, now: number): number => {
  switch (state._tag) {
    case "FixedWindow":
      return FixedWindow.used(state, now)
    case "SlidingLog":
      return SlidingLog.used(state, now)
    case "TokenBucket":
      return TokenBucket.used(state, now)
    case "Gcra":
      return Gcra.used(state, now)
  }
}

const occupy = (policy: RateLimitPolicy, amount: number, now: number): LimitState => {
  switch (policy.algorithm) {
    case "fixed-window":
      return FixedWindow.occupy(policy, amount, now)
    case "sliding-window":
      return SlidingLog.occupy(policy, amount, now)
    case "token-bucket":
      return TokenBucket.occupy(policy, amount, now)
    case "leaky-bucket":
      return Gcra.occupy(policy, amount, now)
  }
}
