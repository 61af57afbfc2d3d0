import { Array, Effect } from "effect"
import type { Latch } from "effect"
import type { SqlClient } from "effect/sql"
import { defaultMaxBatchBytes, defaultMaxBatchRecords } from "../../../messaging/EventLog.ts"
import type { AssignedPartition, LogRecord, Subscription } from "../../../messaging/EventLog.ts"
import { keepTrying } from "../../../messaging/KeepTrying.ts"

interface Row {
  readonly offset: bigint
  readonly key: string
  readonly value: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly publishedAt: Date
}

export interface PgReader {
  readonly take: AssignedPartition["take"]
  /** Looks again if there are records up to `end`, in case their notification was missed. */
  readonly hint: (end: number) => void
}

/** Reads a partition from an offset on. `arrived` opens with each notification of new records. */
export const make = (
  sql: SqlClient.SqlClient,
  options: {
    readonly partitionId: number
    readonly topic: string
    readonly partition: number
    readonly from: number
    readonly subscription: Subscription
    readonly arrived: Latch.Latch
  }
): PgReader => {
  const { arrived, from, partition, partitionId, topic } = options
  const { maxBatchBytes = defaultMaxBatchBytes, maxBatchRecords = defaultMaxBatchRecords } = options.subscription
  let position = from

  // Always one record, whatever its size.
  const read = Effect.suspend(() =>
    sql<Row>`
      SELECT "offset", key, value, headers, published_at AS "publishedAt"
      FROM (
        SELECT *, sum(octet_length(value)) OVER (ORDER BY "offset") AS bytes
        FROM (
          SELECT * FROM event_log_records
          WHERE partition_id = ${partitionId} AND "offset" >= ${position}
          ORDER BY "offset" LIMIT ${maxBatchRecords}
        ) AS candidates
      ) AS batch
      WHERE bytes <= ${maxBatchBytes} OR bytes = octet_length(value)
      ORDER BY "offset"`
  ).pipe(
    keepTrying("The event log can't be read; trying again")
  )

  const toRecord = ({ headers, key, offset, publishedAt, value }: Row): LogRecord => ({
    topic,
    partition,
    offset: Number(offset),
    key,
    value,
    headers,
    publishedAt: publishedAt.getTime()
  })

  const take: AssignedPartition["take"] = Effect.suspend(() => {
    // Closed before the look: what arrives after it opens the latch again.
    arrived.closeUnsafe()
    return Effect.flatMap(read, (rows) => {
      const records = rows.map(toRecord)
      if (!Array.isReadonlyArrayNonEmpty(records)) return Effect.andThen(arrived.await, take)
      position = Array.lastNonEmpty(records).offset + 1
      return Effect.succeed(records)
    })
  })

  return {
    take,
    hint: (end) => {
      if (end > position) arrived.openUnsafe()
    }
  }
}
