import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { answering, isServerAway } from "../ServerAway.ts"

export const isPassing = (error: SqlError.SqlError): boolean => error.isRetryable || isServerAway(error)

/**
 * For calls that somebody waits for: SQL errors that may pass (no connection, deadlock, timeout) become the port's own
 * error. Any other is a mistake of this program, so a defect.
 */
export const passingFailure = <E2>(toError: (cause: SqlError.SqlError) => E2) =>
  answering((error) => isPassing(error) ? Effect.fail(toError(error)) : Effect.die(error))

/**
 * For background work that has nobody to fail for, and so must go on whatever the server says: every SQL error becomes
 * the port's own.
 */
export const anyFailure = <E2>(toError: (cause: SqlError.SqlError) => E2) =>
  answering((error) => Effect.fail(toError(error)))
