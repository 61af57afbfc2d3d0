/**
 * The event log inside PostgreSQL: what `KAFKA_BROKERS` is not needed for. Readers are woken by notifications; the only
 * periodic queries are the renewals of group memberships and retention.
 */
import { Duration, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { defaultMaxBatchBytes, defaultMaxBatchRecords, EventLog } from "../../../messaging/EventLog.ts"
import * as GroupMember from "../../../messaging/GroupMember.ts"
import { defaultMaxRecordBytes } from "../../../messaging/RecordSize.ts"
import * as EventLogRetention from "./EventLogRetention.ts"
import { Notifications } from "./Notifications.ts"
import * as PgAppend from "./PgAppend.ts"
import * as PgGroup from "./PgGroup.ts"
import * as PgReader from "./PgReader.ts"
import * as PgTopics from "./PgTopics.ts"

export interface EventLogPgOptions extends EventLogRetention.Options {
  /** How long a member of a group may fall silent before its partitions go to others. Default 10 seconds. */
  readonly lease?: Duration.Input | undefined
  /** Default 1 MiB. */
  readonly maxRecordBytes?: number | undefined
}

export const layer = (options: EventLogPgOptions = {}) =>
  Layer.effect(
    EventLog,
    Effect.gen(function*() {
      const sql = (yield* SqlClient.SqlClient).withoutTransforms()
      const notifications = yield* Notifications
      const topics = PgTopics.make(sql)
      const lease = Duration.fromInputUnsafe(options.lease ?? "10 seconds")
      yield* Effect.forkScoped(EventLogRetention.run(sql, options))

      const subscribe: EventLog["Service"]["subscribe"] = Effect.fnUntraced(function*(subscription, onAssigned) {
        yield* Effect.forEach(subscription.topics, topics.findWhenAvailable, { discard: true })
        const changes = yield* notifications.latch(PgGroup.groupSubject(subscription.group))
        return yield* GroupMember.run(
          PgGroup.coordinator(sql, notifications, topics, { subscription, lease, changes, scope: yield* Effect.scope }),
          onAssigned
        )
      }, Effect.scoped)

      const read: EventLog["Service"]["read"] = ({ maxBytes, maxRecords, offset, partition, topic }) =>
        Effect.gen(function*() {
          const partitionId = (yield* topics.find(topic))[partition]
          if (partitionId === undefined) return { records: [], next: offset }
          const records = yield* PgReader.read(sql, { partitionId, topic, partition }, offset, {
            maxRecords: maxRecords ?? defaultMaxBatchRecords,
            maxBytes: maxBytes ?? defaultMaxBatchBytes
          })
          return { records, next: (records.at(-1)?.offset ?? offset - 1) + 1 }
        }).pipe(PgTopics.failure("read"))

      const ranges: EventLog["Service"]["ranges"] = (topic) =>
        topics.find(topic).pipe(
          Effect.andThen(
            sql<{ readonly partition: number; readonly start: bigint; readonly end: bigint }>`
              SELECT partition, start_offset AS start, next_offset AS end
              FROM event_log_partitions WHERE topic = ${topic} ORDER BY partition`
          ),
          Effect.map((rows) =>
            rows.map(({ end, partition, start }) => ({ partition, start: Number(start), end: Number(end) }))
          ),
          PgTopics.failure("ranges")
        )

      const lag: EventLog["Service"]["lag"] = (group) =>
        sql<
          {
            readonly topic: string
            readonly partition: number
            readonly committed: bigint
            readonly end: bigint
            readonly lag: bigint
          }
        >`
          SELECT p.topic, p.partition, o.committed, p.next_offset AS end,
            greatest(0, p.next_offset - greatest(o.committed, p.start_offset)) AS lag
          FROM event_log_offsets AS o JOIN event_log_partitions AS p ON p.id = o.partition_id
          WHERE o.group_name = ${group} ORDER BY p.topic, p.partition`.pipe(
          Effect.map((rows) =>
            rows.map(({ committed, end, lag, partition, topic }) => ({
              topic,
              partition,
              committed: Number(committed),
              end: Number(end),
              lag: Number(lag)
            }))
          ),
          PgTopics.failure("lag")
        )

      return EventLog.of({
        ensureTopics: topics.ensure,
        publish: PgAppend.make(sql, topics, options.maxRecordBytes ?? defaultMaxRecordBytes),
        subscribe,
        read,
        ranges,
        lag
      })
    })
  )
