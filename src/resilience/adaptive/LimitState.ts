/** The pure core of an adaptive limit: what the end of each call does to it. */
import { follow, slowAboveMillis } from "./LimitAlgorithm.ts"
import type { Estimate, LimitAlgorithm } from "./LimitAlgorithm.ts"

export interface LimitSettings {
  readonly name: string
  readonly algorithm: LimitAlgorithm
  readonly minimum: number
  readonly maximum: number
  readonly initial: number
  /** The limit moves at most once in so many milliseconds; after being idle for as many it begins to look anew. */
  readonly windowMillis: number
  /** And not before so many calls have told something. */
  readonly minimumSamples: number
}

/**
 * How a call ended, as far as the limit is concerned: with an answer; refused by an other side that has too much to do;
 * or given up (interrupted, timed out), which tells only that it would have taken longer than it did.
 */
export type SampleEnding = "Answered" | "Refused" | "GivenUp"

export interface Sample {
  readonly ending: SampleEnding
  readonly latencyMillis: number
  /** The calls that ran when this one began, itself included. */
  readonly inFlight: number
}

/** What ended since the limit was last looked at. */
interface Window {
  readonly until: number
  /** When the last of them ended. */
  readonly lastAt: number
  readonly samples: number
  /** Of the samples, those that were no refusal: how long a refusal took says nothing of how long work takes. */
  readonly timed: number
  readonly sumMillis: number
  readonly inFlight: number
  readonly hasRefused: boolean
}

export interface LimitState {
  readonly estimate: Estimate
  readonly window: Window
}

const emptyWindow = (now: number, settings: LimitSettings): Window => ({
  until: now + settings.windowMillis,
  lastAt: now,
  samples: 0,
  timed: 0,
  sumMillis: 0,
  inFlight: 0,
  hasRefused: false
})

/** `now` is in milliseconds, of whatever clock that doesn't run backwards. */
export const initial = (settings: LimitSettings, now: number): LimitState => ({
  estimate: { limit: settings.initial, usualMillis: 0, windows: 0 },
  window: emptyWindow(now, settings)
})

/** The calls that may run at once. */
export const limitOf = ({ estimate }: LimitState): number => Math.floor(estimate.limit)

const isTelling = (settings: LimitSettings, { estimate }: LimitState, sample: Sample): boolean => {
  if (sample.ending !== "GivenUp") return true
  const slowMillis = slowAboveMillis(settings.algorithm, estimate)
  return slowMillis !== undefined && sample.latencyMillis > slowMillis
}

/**
 * The state after a call. A call that was given up counts with the time that it had, but only where even that is slow:
 * else callers without patience would make the other side look fast. Nothing but the end of a call moves the limit, so
 * it stays where it is while there are none.
 */
export const settle = (settings: LimitSettings, state: LimitState, sample: Sample, now: number): LimitState => {
  if (!isTelling(settings, state, sample)) return state
  const { estimate } = state
  // What ended before a pause, in which no call ran, says nothing of now.
  const idleMillis = now - sample.latencyMillis - state.window.lastAt
  const window = idleMillis > settings.windowMillis ? emptyWindow(now, settings) : state.window
  const isRefused = sample.ending === "Refused"
  const next: Window = {
    until: window.until,
    lastAt: now,
    samples: window.samples + 1,
    timed: isRefused ? window.timed : window.timed + 1,
    sumMillis: isRefused ? window.sumMillis : window.sumMillis + sample.latencyMillis,
    inFlight: Math.max(window.inFlight, sample.inFlight),
    hasRefused: window.hasRefused || isRefused
  }
  if (now < next.until || next.samples < settings.minimumSamples) return { estimate, window: next }
  const moved = follow(settings.algorithm, estimate, {
    averageMillis: next.timed === 0 ? undefined : next.sumMillis / next.timed,
    inFlight: next.inFlight,
    hasRefused: next.hasRefused
  })
  const limit = Math.max(settings.minimum, Math.min(settings.maximum, moved.limit))
  return { estimate: { ...moved, limit }, window: emptyWindow(now, settings) }
}
