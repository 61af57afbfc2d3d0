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

export interface Position {
  readonly partitionId: number
  readonly topic: string
  readonly partition: number
}

/** The records from an offset on; always one, whatever its size, where there is any. */
export const read = (
  sql: SqlClient.SqlClient,
  { partition, partitionId, topic }: Position,
  from: number,
  limits: { readonly maxRecords: number; readonly maxBytes: number }
) =>
  Effect.map(
    sql<Row>`
      SELECT "offset", key, value, headers, published_at AS "publishedAt"
      FROM (
        SELECT *, sum(octet_length(value)) OVER (ORDER BY "offset") AS bytes
        FROM (
          SELECT * FROM event_log_records
          WHERE partition_id = ${partitionId} AND "offset" >= ${from}
          ORDER BY "offset" LIMIT ${limits.maxRecords}
        ) AS candidates
      ) AS batch
      WHERE bytes <= ${limits.maxBytes} OR bytes = octet_length(value)
      ORDER BY "offset"`,
    (rows) =>
      rows.map(({ headers, key, offset, publishedAt, value }): LogRecord => ({
        topic,
        partition,
        offset: Number(offset),
        key,
        value,
        headers,
        publishedAt: publishedAt.getTime()
      }))
  )

export interface PgReader {
  readonly take: AssignedPartition["take"]
  /** Looks again if there are records up to `end`, in case their notification was missed. */
  readonly hint: (end: number) => void
}

/** Reads a partition from an offset on. `arrived` opens with each notification of new records. */
export const make = (
  sql: SqlClient.SqlClient,
  options: Position & {
    readonly from: number
    /** That there is nothing from `from` on has been seen, and the latch was closed before that. */
    readonly isEmpty?: boolean
    readonly subscription: Subscription
    readonly arrived: Latch.Latch
  }
): PgReader => {
  const { arrived, from, isEmpty = false } = options
  const { maxBatchBytes = defaultMaxBatchBytes, maxBatchRecords = defaultMaxBatchRecords } = options.subscription
  const limits = { maxRecords: maxBatchRecords, maxBytes: maxBatchBytes }
  let position = from

  const readOn = Effect.suspend(() => read(sql, options, position, limits)).pipe(
    keepTrying("The event log can't be read; trying again")
  )

  const look: AssignedPartition["take"] = Effect.suspend(() => {
    // Closed before the look: what arrives after it opens the latch again.
    arrived.closeUnsafe()
    return Effect.flatMap(readOn, (records) => {
      if (!Array.isReadonlyArrayNonEmpty(records)) return Effect.andThen(arrived.await, look)
      position = Array.lastNonEmpty(records).offset + 1
      return Effect.succeed(records)
    })
  })

  return {
    take: Effect.suspend(() => isEmpty && position === from ? Effect.andThen(arrived.await, look) : look),
    hint: (end) => {
      if (end > position) arrived.openUnsafe()
    }
  }
}
