import { Effect, Schedule } from "effect"

const schedule = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])

/**
 * Repeats what can only fail for a while, after 50 ms at first and 2 s at last, until it succeeds. Each failure is
 * logged as `message`.
 */
export const keepTrying = (message: string) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, never, R> =>
  effect.pipe(
    Effect.tapError((error) => Effect.logWarning(message, error)),
    Effect.retry(schedule),
    // The schedule never ends.
    Effect.orDie
  )
