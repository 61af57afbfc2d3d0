/** Deletes records by age: the oldest of each partition first, a few at a time. */
import { Duration, Effect, Schedule } from "effect"
import type { SqlClient } from "effect/sql"

export interface Options {
  /** Records that every group of the topic has handled are kept this long. Default 1 day. */
  readonly retainConsumed?: Duration.Input | undefined
  /** No record is kept longer, handled or not. Default 30 days. */
  readonly retain?: Duration.Input | undefined
  /** How often old records are deleted. Default 10 minutes. */
  readonly retainEvery?: Duration.Input | undefined
}

/** Rows a statement, so that none holds locks for long. */
const batch = 2_000

export const run = (sql: SqlClient.SqlClient, options: Options): Effect.Effect<void> => {
  const age = (duration: Duration.Input) => sql`make_interval(secs => ${Duration.toSeconds(duration)}::float8)`
  const retain = age(options.retain ?? "30 days")
  const retainConsumed = age(options.retainConsumed ?? "1 day")

  // A topic without a group counts as read by nobody. Ages and offsets grow together, so what is old is at the front.
  const deleteSome = (partitionId: number) =>
    sql<{ readonly count: bigint }>`
      WITH deleted AS (
        DELETE FROM event_log_records WHERE partition_id = ${partitionId} AND "offset" IN (
          SELECT "offset" FROM (
            SELECT "offset", published_at FROM event_log_records
            WHERE partition_id = ${partitionId} ORDER BY "offset" LIMIT ${batch}
          ) AS oldest
          WHERE published_at < clock_timestamp() - ${retain}
            OR published_at < clock_timestamp() - ${retainConsumed}
              AND "offset" < (SELECT min(committed) FROM event_log_offsets WHERE partition_id = ${partitionId})
        ) RETURNING "offset"
      )
      UPDATE event_log_partitions
      SET start_offset = greatest(start_offset, (SELECT max("offset") + 1 FROM deleted))
      WHERE id = ${partitionId} AND EXISTS (SELECT FROM deleted)
      RETURNING (SELECT count(*) FROM deleted) AS count`

  const deleteOld = Effect.gen(function*() {
    const partitions = yield* sql<{ readonly id: number }>`SELECT id FROM event_log_partitions`
    for (const { id } of partitions) {
      yield* Effect.repeat(deleteSome(id), { while: ([deleted]) => Number(deleted?.count ?? 0) === batch })
    }
  })

  return deleteOld.pipe(
    Effect.catch((error) => Effect.logWarning("Old records could not be deleted; they are tried again later", error)),
    Effect.repeat(Schedule.spaced(options.retainEvery ?? "10 minutes"))
  )
}
