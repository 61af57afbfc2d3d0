import { DateTime, Effect } from "effect"
import type { LogRecord, NewRecord } from "./EventLog.ts"
import { deadLetter } from "./RecordHeaders.ts"

/** Where the messages of a topic go that could not be handled. */
export const deadLetterTopic = (topic: string): string => `${topic}.dlq`

export interface Failure {
  readonly code: string
  readonly message: string
}

/** Longer messages are cut: headers are for people and are kept small. */
const maxMessageLength = 1_000

/** The record that stands for a message in the dead letters: as it was, with the reason and the origin in headers. */
export const deadLetterOf = (
  record: LogRecord,
  options: { readonly group: string; readonly attempts: number; readonly failure: Failure }
): Effect.Effect<NewRecord> =>
  Effect.map(DateTime.now, (now) => ({
    topic: deadLetterTopic(record.topic),
    key: record.key,
    value: record.value,
    headers: {
      ...record.headers,
      [deadLetter.error]: options.failure.code,
      [deadLetter.message]: headerText(options.failure.message),
      [deadLetter.group]: options.group,
      [deadLetter.topic]: record.topic,
      [deadLetter.partition]: String(record.partition),
      [deadLetter.offset]: String(record.offset),
      [deadLetter.attempts]: String(options.attempts),
      [deadLetter.at]: DateTime.formatIso(now)
    }
  }))

/** For a log that does not take the dead letter whole. The message itself is still where the headers say it came from. */
export const withoutValue = (letter: NewRecord): NewRecord => ({
  ...letter,
  value: new Uint8Array(),
  headers: { ...letter.headers, [deadLetter.value]: "omitted" }
})

const headerText = (text: string): string => text.replaceAll("\0", "").slice(0, maxMessageLength)
