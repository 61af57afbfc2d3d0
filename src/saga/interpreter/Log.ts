/** Lines in the log for what happens at every step, which cost next to nothing where nobody wants them. */
import { Effect, LogLevel } from "effect"

const before =
  (level: "Debug" | "Info") => (message: string) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber(({ cache }) =>
      LogLevel.isGreaterThanOrEqualTo(level, cache.minimumLogLevel)
        ? Effect.andThen(Effect.logWithLevel(level)(message), effect)
        : effect
    )

export const debug = before("Debug")
export const info = before("Info")
