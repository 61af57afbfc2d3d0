import { Duration } from "effect"

/** What happens to a record after an attempt that failed. */
export type AfterFailure =
  | { readonly _tag: "Retry"; readonly delay: Duration.Duration }
  | { readonly _tag: "DeadLetter" }

/**
 * One delay per retry, so a record is attempted `delays.length + 1` times. `attempt` counts from 1 and is the one that
 * failed.
 */
export const afterFailure = (delays: ReadonlyArray<Duration.Duration>, attempt: number): AfterFailure => {
  const delay = delays[attempt - 1]
  return delay === undefined ? { _tag: "DeadLetter" } : { _tag: "Retry", delay }
}

/** `retries` delays that grow by `factor` from `initial` up to `max`. */
export const exponential = (options: {
  readonly initial: Duration.Input
  readonly factor: number
  readonly max: Duration.Input
  readonly retries: number
}): ReadonlyArray<Duration.Duration> => {
  const initial = Duration.fromInputUnsafe(options.initial)
  const max = Duration.fromInputUnsafe(options.max)
  return Array.from(
    { length: options.retries },
    (_, n) => Duration.min(Duration.times(initial, options.factor ** n), max)
  )
}
