import { Effect } from "effect"
import { SqlError } from "effect/sql"

/** A server that shuts down or starts up refuses work in these words, which the driver files under unknown errors. */
const shuttingDown = /terminating connection|shutting down|starting up|in recovery mode|connection (is |was )?closed/i

const isPassing = ({ isRetryable, reason }: SqlError.SqlError): boolean =>
  isRetryable || shuttingDown.test(`${reason.message ?? ""} ${String(reason.cause)}`)

/**
 * Answers SQL errors that may pass (no connection, deadlock, timeout) by the port's own error. Any other is a mistake
 * of this program, so a defect.
 */
export const unavailable =
  <E2>(answer: (cause: SqlError.SqlError) => E2) => <A, E, R>(effect: Effect.Effect<A, E | SqlError.SqlError, R>) =>
    Effect.catchIf(
      effect,
      SqlError.isSqlError,
      (error) => isPassing(error) ? Effect.fail(answer(error)) : Effect.die(error)
    )
