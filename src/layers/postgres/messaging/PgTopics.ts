import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { EventLogUnavailable, UnknownTopic } from "../../../messaging/EventLog.ts"
import type { Topic } from "../../../messaging/EventLog.ts"
import { keepTrying } from "../../../messaging/KeepTrying.ts"
import { anyFailure } from "./SqlFailure.ts"

export const failure = (operation: string) => anyFailure((cause) => new EventLogUnavailable({ operation, cause }))

/** The ids of a topic's partitions, by partition number. */
type PartitionIds = ReadonlyArray<number>

export interface PgTopics {
  readonly ensure: (topics: ReadonlyArray<Topic>) => Effect.Effect<void, EventLogUnavailable>
  readonly find: (topic: string) => Effect.Effect<PartitionIds, EventLogUnavailable | UnknownTopic>
  /** As `find`, but waits while the database is away. */
  readonly findWhenAvailable: (topic: string) => Effect.Effect<PartitionIds, UnknownTopic>
}

/** Topics never change once they exist, so what was found is remembered. */
export const make = (sql: SqlClient.SqlClient): PgTopics => {
  const known = new Map<string, PartitionIds>()

  const ensure = Effect.fnUntraced(function*(topics: ReadonlyArray<Topic>) {
    // A topic is created whole or not at all, whoever else creates it now.
    yield* Effect.forEach(topics, ({ name, partitions }) =>
      sql.withTransaction(Effect.andThen(
        sql`SELECT pg_advisory_xact_lock(hashtextextended(${name}, 0))`,
        sql`
          INSERT INTO event_log_partitions (topic, partition)
          SELECT ${name}, partition FROM generate_series(0, ${partitions - 1}) AS partition
          WHERE NOT EXISTS (SELECT FROM event_log_partitions WHERE topic = ${name})`
      )), { discard: true })
  }, failure("ensureTopics"))

  const lookUp = Effect.fnUntraced(function*(topic: string) {
    const remembered = known.get(topic)
    if (remembered !== undefined) return remembered
    const rows = yield* sql<{ readonly id: number }>`
      SELECT id FROM event_log_partitions WHERE topic = ${topic} ORDER BY partition`
    const ids = rows.map(({ id }) => id)
    if (ids.length > 0) known.set(topic, ids)
    return ids
  }, failure("find"))

  const orUnknown = (topic: string) => (ids: PartitionIds): Effect.Effect<PartitionIds, UnknownTopic> =>
    ids.length === 0 ? new UnknownTopic({ topic }) : Effect.succeed(ids)

  return {
    ensure,
    find: (topic) => Effect.flatMap(lookUp(topic), orUnknown(topic)),
    findWhenAvailable: (topic) =>
      lookUp(topic).pipe(keepTrying("A consumer group waits for the event log"), Effect.flatMap(orUnknown(topic)))
  }
}
