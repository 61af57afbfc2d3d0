/** Forgets sagas that ended long ago, a few at a time. Parked ones stay. */
import { Duration, Effect, Schedule } from "effect"
import type { SqlClient } from "effect/sql"

export interface Options {
  /** How long sagas that ended are kept, and their ids stay taken. Default 30 days. */
  readonly remember?: Duration.Input | undefined
  /** How often older ones are forgotten. Default 10 minutes. */
  readonly forgetEvery?: Duration.Input | undefined
}

/** Sagas a statement, so that none holds locks for long. */
const batch = 1_000

export const run = (sql: SqlClient.SqlClient, options: Options): Effect.Effect<void> => {
  const before = sql`
    clock_timestamp() - make_interval(secs => ${Duration.toSeconds(options.remember ?? "30 days")}::float8)`

  const forgetSome = sql<{ readonly count: number }>`
    WITH forgotten AS (
      DELETE FROM sagas WHERE id IN (
        SELECT id FROM sagas WHERE started_at < ${before} AND ended_at < ${before}
        ORDER BY started_at, id LIMIT ${batch} FOR UPDATE SKIP LOCKED
      ) RETURNING id
    ), entries AS (
      DELETE FROM saga_entries WHERE saga_id IN (SELECT id FROM forgotten)
    )
    SELECT count(*)::int AS count FROM forgotten`

  return forgetSome.pipe(
    Effect.repeat({ while: ([forgotten]) => forgotten?.count === batch }),
    Effect.catch((error) => Effect.logWarning("Old sagas could not be forgotten; they are tried again later", error)),
    Effect.repeat(Schedule.spaced(options.forgetEvery ?? "10 minutes"))
  )
}
