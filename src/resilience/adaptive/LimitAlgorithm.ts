/**
 * How a limit of concurrent calls follows what the calls tell of the other side: pure functions of the limit and of what
 * one window of time showed.
 */

/**
 * By latency, without knowing what is normal: `Gradient2Limit` of Netflix's concurrency-limits. Where calls take longer
 * than they used to, they queue somewhere, so fewer should run. Right where calls are much alike.
 *
 * A latency that stays up for about `longWindows` becomes the new normal; a process that starts while the other side is
 * overloaded takes that for normal.
 */
export interface Gradient2 {
  readonly _tag: "Gradient2"
  /** Latency may be this many times the usual before the limit falls, from 1. */
  readonly tolerance: number
  /** Calls that may queue over there; the limit also grows by them. */
  readonly queueSize: number
  /** How much of each new estimate is taken over, in (0, 1]. */
  readonly smoothing: number
  /** The windows over which the usual latency is averaged. */
  readonly longWindows: number
}

/**
 * By refusals and a latency that is too much: additive increase, multiplicative decrease, as TCP has it (Chiu and Jain,
 * 1989). Right where it is known what latency is still good, and where calls differ too much to have a usual one.
 */
export interface Aimd {
  readonly _tag: "Aimd"
  /** An average latency above this, in milliseconds, makes the limit fall. */
  readonly latencyAtMostMillis: number
  /** What is left of the limit when it falls, in [0.5, 1). */
  readonly backoff: number
}

export type LimitAlgorithm = Gradient2 | Aimd

/** What the calls that ended in a window showed. */
export interface Observation {
  /** Undefined where no call was answered. */
  readonly averageMillis: number | undefined
  /** The most calls that ran at once. */
  readonly inFlight: number
  /** Whether the other side refused a call because it has too much to do. */
  readonly hasRefused: boolean
}

/** The estimate is kept with its fraction, so that small steps add up. */
export interface Estimate {
  readonly limit: number
  /** The usual latency in milliseconds; Gradient2 only. */
  readonly usualMillis: number
  /** Windows seen until now, up to those of the warm-up. */
  readonly windows: number
}

const warmUpWindows = 10
const leastGradient = 0.5

/** The plain average of the first windows, then one that is weighted exponentially, with the factor `2 / (n + 1)`. */
const averaged = ({ usualMillis, windows }: Estimate, millis: number, longWindows: number): number =>
  usualMillis + (millis - usualMillis) * (windows < warmUpWindows ? 1 / (windows + 1) : 2 / (longWindows + 1))

/** A refusal is the steepest gradient: one that comes at once would else pass for a good latency. */
const refused = (settings: Gradient2, limit: number): number =>
  limit * (1 - settings.smoothing) + limit * leastGradient * settings.smoothing

/**
 * The formulas are those of concurrency-limits, `Gradient2Limit.java`, commit 78a74b9:
 *
 *     gradient = max(0.5, min(1, tolerance × usual / latency))
 *     limit    = limit × (1 − smoothing) + (limit × gradient + queueSize) × smoothing
 *
 * A usual latency of more than twice the present one is cut by a twentieth each window, so that a bad time is soon
 * forgotten. Where less than half the limit is used, latency says nothing about the limit, and it stays.
 */
const gradient2 = (settings: Gradient2, estimate: Estimate, seen: Observation): Estimate => {
  const { averageMillis, hasRefused, inFlight } = seen
  const { limit } = estimate
  if (averageMillis === undefined) return hasRefused ? { ...estimate, limit: refused(settings, limit) } : estimate
  const usual = averaged(estimate, averageMillis, settings.longWindows)
  const learned = {
    usualMillis: usual > 2 * averageMillis ? usual * 0.95 : usual,
    windows: Math.min(estimate.windows + 1, warmUpWindows)
  }
  if (hasRefused) return { ...learned, limit: refused(settings, limit) }
  if (inFlight < limit / 2) return { ...learned, limit }
  const ratio = averageMillis > 0 ? settings.tolerance * usual / averageMillis : 1
  const gradient = Math.max(leastGradient, Math.min(1, ratio))
  const wanted = limit * gradient + settings.queueSize
  return { ...learned, limit: limit * (1 - settings.smoothing) + wanted * settings.smoothing }
}

const aimd = (settings: Aimd, estimate: Estimate, seen: Observation): Estimate => {
  const { averageMillis = 0, hasRefused, inFlight } = seen
  const { limit } = estimate
  if (hasRefused || averageMillis > settings.latencyAtMostMillis) {
    return { ...estimate, limit: Math.min(limit - 1, limit * settings.backoff) }
  }
  return inFlight < limit / 2 ? estimate : { ...estimate, limit: limit + 1 }
}

/** The estimate after another window; the bounds are the caller's business. */
export const follow = (algorithm: LimitAlgorithm, estimate: Estimate, seen: Observation): Estimate =>
  algorithm._tag === "Gradient2" ? gradient2(algorithm, estimate, seen) : aimd(algorithm, estimate, seen)

/** The latency in milliseconds above which a call is slow; undefined while that isn't known. */
export const slowAboveMillis = (algorithm: LimitAlgorithm, estimate: Estimate): number | undefined =>
  algorithm._tag === "Aimd" ? algorithm.latencyAtMostMillis : estimate.windows > 0 ? estimate.usualMillis : undefined
