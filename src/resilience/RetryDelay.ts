/**
 * Delays between attempts, with jitter, so that callers that failed together don't come back together. Both forms are
 * those of Marc Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015).
 */
import { Duration, Effect, Predicate, Random, Schedule } from "effect"

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

/** Delays that can say what they are. */
export interface DescribedDelays extends Schedule.Schedule<Duration.Duration> {
  readonly text: string
}

/** What a schedule says of itself: `jitter 100ms..10s`; undefined for one that was made elsewhere. */
export const textOf = (schedule: Schedule.Schedule<unknown, never>): string | undefined =>
  Predicate.hasProperty(schedule, "text") && Predicate.isString(schedule.text) ? schedule.text : undefined

const jittered = (
  name: string,
  options: BackoffOptions,
  between: (base: number, cap: number, retry: number, previous: number) => readonly [least: number, most: number]
): DescribedDelays => {
  const base = Duration.toMillis(options.base)
  const cap = Duration.toMillis(options.cap)
  const text = `${name} ${Duration.format(Duration.millis(base))}..${Duration.format(Duration.millis(cap))}`
  const schedule = Schedule.fromStep(Effect.sync(() => {
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
  return Object.assign(schedule, { text })
}

/** Full jitter: evenly between nothing and a ceiling that doubles. The least work in all when many compete. */
export const fullJitter = (options: BackoffOptions): DescribedDelays =>
  jittered("full jitter", options, (base, cap, retry) => [0, fullJitterCeiling(base, cap, retry)])

/** Decorrelated jitter: evenly between the base and three times the delay before. Never near nothing. */
export const decorrelatedJitter = (options: BackoffOptions): DescribedDelays =>
  jittered("jitter", options, (base, cap, _, previous) => [Math.min(base, cap), decorrelatedCeiling(cap, previous)])
