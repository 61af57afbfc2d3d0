/**
 * Delays between attempts, with jitter, so that callers that failed together don't come back together. Both forms are
 * those of Marc Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).
 */
import { Duration, Effect, Random, Schedule } from "effect"

export interface BackoffOptions {
  /** The delay that the others grow from. */
  readonly base: Duration.Input
  /** No delay is longer. */
  readonly cap: Duration.Input
}

/** The longest delay before the n-th retry (from 1) with full jitter: `min(cap, base × 2ⁿ⁻¹)`. The shortest is 0. */
export const fullJitterCeiling = (base: number, cap: number, retry: number): number =>
  Math.min(cap, base * 2 ** (retry - 1))

/** The longest delay after one of `previous` with decorrelated jitter: `min(cap, 3 × previous)`. The shortest is `base`. */
export const decorrelatedCeiling = (cap: number, previous: number): number => Math.min(cap, previous * 3)

const jittered = (
  options: BackoffOptions,
  between: (base: number, cap: number, retry: number, previous: number) => readonly [least: number, most: number]
): Schedule.Schedule<Duration.Duration> => {
  const base = Duration.toMillis(options.base)
  const cap = Duration.toMillis(options.cap)
  return Schedule.fromStep(Effect.sync(() => {
    let retry = 0
    let previous = base
    return () =>
      Effect.map(Random.next, (random) => {
        const [least, most] = between(base, cap, ++retry, previous)
        previous = least + random * (most - least)
        const delay = Duration.millis(previous)
        return [delay, delay] satisfies [unknown, Duration.Duration]
      })
  }))
}

/** Full jitter: evenly between nothing and a ceiling that doubles. The least work in all when many compete. */
export const fullJitter = (options: BackoffOptions): Schedule.Schedule<Duration.Duration> =>
  jittered(options, (base, cap, retry) => [0, fullJitterCeiling(base, cap, retry)])

/** Decorrelated jitter: evenly between the base and three times the delay before. Never near nothing. */
export const decorrelatedJitter = (options: BackoffOptions): Schedule.Schedule<Duration.Duration> =>
  jittered(options, (base, cap, _, previous) => [Math.min(base, cap), decorrelatedCeiling(cap, previous)])
