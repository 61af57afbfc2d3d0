/** The pure core over all algorithms: what a store runs atomically, each time on its own clock. */
import type { Admitted, Left, Step } from "./Decision.ts"
import { isPossible, isSetBack } from "./Decision.ts"
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
  let state = stored
  if (state !== undefined && isOfAnother(policy, state)) {
    const step = decideUnderAnother(policy, state, cost, now)
    if (step.decision !== undefined) return { state: step.state, decision: step.decision }
    state = step.state
  }
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
export const inspect = (policy: RateLimitPolicy, state: LimitState | undefined, now: number): Left => {
  if (state !== undefined && isOfAnother(policy, state)) return leftUnderAnother(policy, state, now)
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
 * capacity is owed, up to twice the capacity. A state that has gone over to another policy gives nothing back.
 */
export const settle = (
  policy: RateLimitPolicy,
  state: LimitState | undefined,
  charge: Admitted,
  difference: number,
  now: number
): LimitState | undefined => {
  if (difference === 0) return state
  if (state !== undefined && isOfAnother(policy, state)) {
    return difference < 0 ? state : settle(state.policy, state, charge, difference, now)
  }
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

/** A log tells everything to any sliding window; every other state speaks of its own policy only. */
const isOfAnother = (policy: RateLimitPolicy, state: LimitState): boolean =>
  !state.policy.isSameAs(policy) && !(state._tag === "SlidingLog" && policy.algorithm === "sliding-window")

/**
 * What was used under another policy stays used, and becomes free again as that policy says, until this one admits a
 * call: from then on the state is its own. Two replicas with different settings thus never admit more together than the
 * larger of their limits, and a lowered limit makes nobody wait for what the old one allowed longer than the old one would.
 */
const decideUnderAnother = (
  policy: RateLimitPolicy,
  state: LimitState,
  cost: number,
  now: number
): Omit<Step<LimitState>, "decision"> & { readonly decision?: Step<LimitState>["decision"] } => {
  const { capacity } = policy
  if (!isPossible(cost, capacity)) return { state, decision: { _tag: "Impossible", capacity } }
  const taken = used(state, now)
  if (taken + cost <= capacity) return { state: occupy(policy, taken, now) }
  return {
    state: isSetBack(lastSeen(state), now, state.policy.windowMillis)
      ? occupy(policy, Math.min(taken, capacity), now)
      : state,
    decision: {
      _tag: "Refused",
      ...leftUnderAnother(policy, state, now),
      retryAfterMillis: untilUsed(state, capacity - cost, now)
    }
  }
}

const leftUnderAnother = ({ capacity }: RateLimitPolicy, state: LimitState, now: number): Left => ({
  remaining: Math.max(0, capacity - used(state, now)),
  resetMillis: untilUsed(state, 0, now)
})

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

const untilUsed = (state: LimitState, atMost: number, now: number): number => {
  switch (state._tag) {
    case "FixedWindow":
      return FixedWindow.untilUsed(state, atMost, now)
    case "SlidingLog":
      return SlidingLog.untilUsed(state, atMost, now)
    case "TokenBucket":
      return TokenBucket.untilUsed(state, atMost, now)
    case "Gcra":
      return Gcra.untilUsed(state, atMost, now)
  }
}

const lastSeen = (state: LimitState): number => {
  switch (state._tag) {
    case "FixedWindow":
      return state.start
    case "SlidingLog":
      return SlidingLog.lastSeen(state)
    case "TokenBucket":
    case "Gcra":
      return state.at
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
