import type { Schema } from "effect"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { answering, isServerAway } from "./ServerAway.ts"

const answer = (error: SqlError.SqlError) =>
  isServerAway(error)
    ? Effect.andThen(
      Effect.logWarning("PostgreSQL is unavailable", error.message),
      new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })
    )
    : Effect.die(error)

/**
 * A server that can't be reached is a fact that callers answer with 503; any other SQL error is a mistake of this
 * program, so a defect.
 */
export const unavailableOrDie = answering(answer)

/** As `unavailableOrDie` for a query of this program's own, whose rows decode unless the program is wrong. */
export const query = <A, R>(
  effect: Effect.Effect<A, SqlError.SqlError | Schema.SchemaError, R>
): Effect.Effect<A, DependencyUnavailable, R> => Effect.catchTags(effect, { SqlError: answer, SchemaError: Effect.die })
