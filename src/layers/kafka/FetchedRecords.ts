/** Records as Kafka's fetch brings them, read into those of the port. */
import filterAbortedMessages from "kafkajs/src/consumer/filterAbortedMessages.js"
import type { FetchedMessage, FetchedPartition } from "kafkajs/src/protocol/requests/index.js"
import type { LogRecord } from "../../messaging/EventLog.ts"

const isHeaderList = (value: FetchedMessage["headers"][string]): value is ReadonlyArray<Buffer | null> =>
  Array.isArray(value)

/** Of a name that occurs several times the last counts. */
const headersOf = (headers: FetchedMessage["headers"]): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const last = isHeaderList(value) ? value.at(-1) : value
      return [name, last?.toString() ?? ""]
    })
  )

/**
 * The records from offset `from` on, and the offset after everything that was fetched. Fetches begin with a whole batch,
 * of which a part may lie before `from`; aborted transactions and the log's own marks are left out.
 */
export const read = (
  topic: string,
  from: number,
  { abortedTransactions, messages, partition }: FetchedPartition
): { readonly records: ReadonlyArray<LogRecord>; readonly next: number } => {
  const records = filterAbortedMessages({ messages, abortedTransactions }).flatMap(
    (message): ReadonlyArray<LogRecord> => {
      const offset = Number(message.offset)
      if (offset < from || message.isControlRecord === true) return []
      return [{
        topic,
        partition,
        offset,
        key: message.key?.toString() ?? "",
        // A copy: a view would keep all that was fetched in memory for as long as one record of it.
        value: new Uint8Array(message.value ?? []),
        headers: headersOf(message.headers),
        publishedAt: Number(message.timestamp)
      }]
    }
  )
  const last = messages.at(-1)
  return { records, next: last === undefined ? from : Math.max(from, Number(last.offset) + 1) }
}

/** As many of the first records as a batch may hold; at least one where there is any. */
export const firstBatch = (
  records: ReadonlyArray<LogRecord>,
  maxRecords: number,
  maxBytes: number
): ReadonlyArray<LogRecord> => {
  let bytes = 0
  const end = records.findIndex(({ value }, index) => {
    bytes += value.byteLength
    return index === maxRecords || (index > 0 && bytes > maxBytes)
  })
  return end === -1 ? records : records.slice(0, end)
}
