/**
 * The topics in which failed messages wait: `<topic>.retry-1`, `<topic>.retry-2`…, one for each distinct delay. What
 * waits in one of them waits equally long, so that it comes due in the order in which it stands there, and nothing that
 * is due waits behind something that is not.
 */
import { Duration, Option, Schema } from "effect"
import type { LogRecord, NewRecord } from "./EventLog.ts"
import * as RecordHeaders from "./RecordHeaders.ts"

const retryTopic = (topic: string, place: number): string => `${topic}.retry-${place}`

/** All of a topic, in the order of their places. */
export const topicsOf = (topic: string, places: number): ReadonlyArray<string> =>
  Array.from({ length: places }, (_, index) => retryTopic(topic, index + 1))

/** Places are counted from 1, for 0 is the topic itself. */
export interface RetryPlan {
  readonly places: number
  /** How long to wait, and where, after so many attempts have failed; none when there is no further one. */
  readonly after: (attempts: number) => { readonly place: number; readonly delay: Duration.Duration } | undefined
}

/** One delay per retry: a message is attempted once more often than that. */
export const plan = (delays: ReadonlyArray<Duration.Duration>): RetryPlan => {
  const distinct = [...new Set(delays.map(Duration.toMillis))]
  return {
    places: distinct.length,
    after: (attempts) => {
      const delay = delays[attempts - 1]
      return delay === undefined ? undefined : { place: distinct.indexOf(Duration.toMillis(delay)) + 1, delay }
    }
  }
}

/** A message as its consumer sees it, wherever its record stands. */
export interface Message {
  /** As it was in its own topic. */
  readonly record: LogRecord
  /** 0 in its own topic, else the number of the retry topic. */
  readonly place: number
  /** Of its record where it stands. */
  readonly offset: number
  /** When its record was written where it stands. Milliseconds since the epoch. */
  readonly arrivedAt: number
  /** That have failed. */
  readonly attempts: number
  readonly hops: number
  readonly isValueOmitted: boolean
}

export const inOwnTopic = (record: LogRecord): Message => ({
  record,
  place: 0,
  offset: record.offset,
  arrivedAt: record.publishedAt,
  attempts: 0,
  hops: 0,
  isValueOmitted: false
})

const Count = Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))

const { attempts, group, hops, offset, publishedAt, value } = RecordHeaders.retry

const decodeHeaders = Schema.decodeUnknownOption(Schema.Struct({
  [group]: Schema.String,
  [offset]: Count,
  [publishedAt]: Count,
  [attempts]: Count,
  [hops]: Count,
  [value]: Schema.optionalKey(Schema.Literal("omitted"))
}))

const own = new Set<string>(Object.values(RecordHeaders.retry))

const withoutOwn = (headers: RecordHeaders.HeaderRecord): RecordHeaders.HeaderRecord =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !own.has(name)))

/** The message that a record of a retry topic stands for; none when it is another group's, or nobody's. */
export const read = (of: string, topic: string, place: number, record: LogRecord): Message | undefined => {
  const headers = Option.getOrUndefined(decodeHeaders(record.headers))
  if (headers?.[group] !== of) return undefined
  return {
    record: {
      ...record,
      topic,
      offset: headers[offset],
      publishedAt: headers[publishedAt],
      headers: withoutOwn(record.headers)
    },
    place,
    offset: record.offset,
    arrivedAt: record.publishedAt,
    attempts: headers[attempts],
    hops: headers[hops],
    isValueOmitted: headers[value] !== undefined
  }
}

/** The next copy of a message, for the given place. */
export const move = (of: string, message: Message, place: number, failed: number): NewRecord => {
  const { record } = message
  return {
    topic: retryTopic(record.topic, place),
    key: record.key,
    value: record.value,
    headers: {
      ...record.headers,
      [group]: of,
      [offset]: String(record.offset),
      [publishedAt]: String(record.publishedAt),
      [attempts]: String(failed),
      [hops]: String(message.hops + 1),
      ...message.isValueOmitted ? { [value]: "omitted" } : {}
    }
  }
}

/** For a log that does not take the copy whole: the value is still in the message's own topic. */
export const withoutValue = (copy: NewRecord): NewRecord => ({
  ...copy,
  value: new Uint8Array(),
  headers: { ...copy.headers, [value]: "omitted" }
})
