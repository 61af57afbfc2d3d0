import type { Schema } from "effect"
import { Effect } from "effect"
import { SqlError } from "effect/sql"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"

const retryAfterSeconds = 2

/** A server that shuts down or starts up refuses work in these words, which the driver files under unknown errors. */
const shuttingDown = /terminating connection|shutting down|starting up|in recovery mode|connection (is |was )?closed/i

const isAway = ({ reason }: SqlError.SqlError): boolean =>
  reason._tag === "ConnectionError" || reason._tag === "StatementTimeoutError" ||
  shuttingDown.test(`${reason.message ?? ""} ${String(reason.cause)}`)

const answer = (error: SqlError.SqlError) =>
  isAway(error)
    ? Effect.andThen(
      Effect.logWarning("PostgreSQL is unavailable", error.message),
      new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds })
    )
    : Effect.die(error)

/**
 * A server that can't be reached is a fact that callers answer with 503; any other SQL error is a mistake of this
 * program, so a defect.
 */
export const unavailableOrDie = <A, E, R>(effect: Effect.Effect<A, E | SqlError.SqlError, R>) =>
  Effect.catchIf(effect, SqlError.isSqlError, answer)

/** As `unavailableOrDie` for a query of this program's own, whose rows decode unless the program is wrong. */
export const query = <A, R>(
  effect: Effect.Effect<A, SqlError.SqlError | Schema.SchemaError, R>
): Effect.Effect<A, DependencyUnavailable, R> => Effect.catchTags(effect, { SqlError: answer, SchemaError: Effect.die })
