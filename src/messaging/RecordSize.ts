import { Effect } from "effect"
import { RecordTooLarge } from "./EventLog.ts"
import type { NewRecord } from "./EventLog.ts"

/** Kafka's default for `message.max.bytes`, less its own overhead. */
export const defaultMaxRecordBytes = 1024 * 1024

const encoder = new TextEncoder()
const utf8Length = (text: string): number => encoder.encode(text).byteLength

/** Bytes of a record's key, value and headers. */
export const recordSize = ({ headers, key, value }: Omit<NewRecord, "topic">): number => {
  let size = utf8Length(key) + value.byteLength
  for (const [name, text] of Object.entries(headers)) size += utf8Length(name) + utf8Length(text)
  return size
}

/** Fails for the first record that exceeds `limit` bytes, before anything is written. */
export const checkSizes = (
  records: ReadonlyArray<NewRecord>,
  limit: number
): Effect.Effect<void, RecordTooLarge> =>
  Effect.suspend(() => {
    for (const record of records) {
      const size = recordSize(record)
      if (size > limit) return new RecordTooLarge({ topic: record.topic, key: record.key, size, limit })
    }
    return Effect.void
  })
