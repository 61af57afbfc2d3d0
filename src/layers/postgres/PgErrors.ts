import type { Schema } from "effect"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { answering, isServerAway } from "./ServerAway.ts"

/** When to try again after a transaction gave way to another, in seconds: the other is over by then. */
const givenWaySeconds = 1

const unavailable = (log: Effect.Effect<void>, retryAfterSeconds: number) =>
  Effect.andThen(log, new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds }))

const answer = (error: SqlError.SqlError) => {
  if (isServerAway(error)) {
    return unavailable(Effect.logWarning("PostgreSQL is unavailable", error.message), usualOutageSeconds)
  }
  return error.isRetryable
    ? unavailable(Effect.logWarning("A transaction gave way to another", error.message), givenWaySeconds)
    : Effect.die(error)
}

/**
 * A server that can't be reached, and a transaction that gave way to another (a deadlock, a lock not had in time, a
 * failed serialization), are facts that callers answer with 503: nothing was written, and another try may well do. Any
 * other SQL error is a mistake of this program, so a defect.
 */
export const unavailableOrDie = answering(answer)

/** As `unavailableOrDie` for a query of this program's own, whose rows decode unless the program is wrong. */
export const query = <A, R>(
  effect: Effect.Effect<A, SqlError.SqlError | Schema.SchemaError, R>
): Effect.Effect<A, DependencyUnavailable, R> => Effect.catchTags(effect, { SqlError: answer, SchemaError: Effect.die })
