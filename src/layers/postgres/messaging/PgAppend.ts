import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { EventLog, NewRecord } from "../../../messaging/EventLog.ts"
import { partitionOf } from "../../../messaging/Partitioner.ts"
import { checkSizes } from "../../../messaging/RecordSize.ts"
import { channel } from "./Notifications.ts"
import { failure } from "./PgTopics.ts"
import type { PgTopics } from "./PgTopics.ts"

/** The subject of notifications about new records of a partition. */
export const recordsSubject = (partitionId: number): string => `event-log/${partitionId}`

/** `publish`: one transaction, or part of the caller's where there is one. */
export const make = (
  sql: SqlClient.SqlClient,
  topics: PgTopics,
  maxRecordBytes: number
): EventLog["Service"]["publish"] => {
  const insert = (records: ReadonlyArray<NewRecord>, partitionIds: ReadonlyArray<number>) =>
    sql`
      WITH input AS (
        SELECT * FROM unnest(
          ${partitionIds}::int[],
          ${records.map(({ key }) => key)}::text[],
          ${records.map(({ value }) => value)}::bytea[],
          ${records.map(({ headers }) => JSON.stringify(headers))}::jsonb[]
        ) WITH ORDINALITY AS input (partition_id, key, value, headers, position)
      ), advanced AS (
        UPDATE event_log_partitions AS p SET next_offset = p.next_offset + added.count
        FROM (SELECT partition_id, count(*) AS count FROM input GROUP BY partition_id) AS added
        WHERE p.id = added.partition_id
        RETURNING p.id, p.next_offset - added.count AS first_offset
      ), inserted AS (
        INSERT INTO event_log_records (partition_id, "offset", key, value, headers, published_at)
        SELECT a.id, a.first_offset - 1 + row_number() OVER (PARTITION BY a.id ORDER BY i.position),
          i.key, i.value, i.headers, clock_timestamp()
        FROM input AS i JOIN advanced AS a ON a.id = i.partition_id
      )
      SELECT pg_notify(${channel}, ${recordsSubject(0).slice(0, -1)} || id) FROM advanced`

  return Effect.fnUntraced(function*(records) {
    if (records.length === 0) return
    yield* checkSizes(records, maxRecordBytes)
    const partitionIds = yield* Effect.forEach(
      records,
      ({ key, topic }) => Effect.map(topics.find(topic), (ids) => ids[partitionOf(key, ids.length)] ?? 0)
    )
    const distinct = [...new Set(partitionIds)]
    yield* failure("publish")(
      distinct.length === 1 ? insert(records, partitionIds) : sql.withTransaction(Effect.andThen(
        // In one order for everybody, so that two batches never wait for each other.
        sql`SELECT FROM event_log_partitions WHERE id = ANY (${distinct}::int[]) ORDER BY id FOR UPDATE`,
        insert(records, partitionIds)
      ))
    )
  })
}
