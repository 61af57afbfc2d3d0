import { Effect } from "effect"
import { RecordTooLarge } from "./EventLog.ts"
import type { NewRecord } from "./EventLog.ts"

/** Kafka's default for `message.max.bytes`, less its own overhead. */
export const defaultMaxRecordBytes = 1024 * 1024

/** Counted and not encoded, for it is asked of every key and every header. */
const utf8Length = (text: string): number => {
  let length = text.length
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x80) continue
    // Half of a pair becomes two of its four bytes; one that stands alone becomes the three of U+FFFD.
    length += unit < 0x800 || isInPair(text, i, unit) ? 1 : 2
  }
  return length
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000

/** Whether the unit is half of a surrogate pair. */
const isInPair = (text: string, i: number, unit: number): boolean =>
  isHigh(unit) ? isLow(text.charCodeAt(i + 1)) : isLow(unit) && isHigh(text.charCodeAt(i - 1))

/** Bytes of a record's key, value and headers. */
export const recordSize = ({ headers, key, value }: Omit<NewRecord, "topic">): number => {
  let size = utf8Length(key) + value.byteLength
  for (const name in headers) size += utf8Length(name) + utf8Length(headers[name] ?? "")
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
