import { DateTime, Effect, Option, Schema } from "effect"
import type { LogRecord, NewRecord } from "./EventLog.ts"
import { murmur2 } from "./Partitioner.ts"
import { deadLetter } from "./RecordHeaders.ts"

/** Where the messages of a topic go that could not be handled. */
export const deadLetterTopic = (topic: string): string => `${topic}.dlq`

export interface Failure {
  readonly code: string
  readonly message: string
  /** Of the error that is the cause, if there is one. */
  readonly stack?: string | undefined
}

/** Longer messages are cut: headers are for people and are kept small. */
const maxMessageLength = 1_000

const maxFrames = 5
const frame = /^\s*at (?:(.*?) \()?(?:.*[\\/])?([^\\/():]+:\d+)(?::\d+)?\)?\s*$/

/** Libraries' own frames say nothing of where the program failed. */
const isForeign = (line: string): boolean => /[\\/]node_modules[\\/]|\(?node:/.test(line)

/** The first frames of a stack as `function file:line`, without folders, so that they are the same on any machine. */
const framesOf = (stack: string): ReadonlyArray<string> =>
  stack.split("\n").filter((line) => !isForeign(line)).flatMap((line) => {
    const [, name = "", place = ""] = frame.exec(line) ?? []
    return place === "" ? [] : [`${name} ${place}`.trim()]
  }).slice(0, maxFrames)

const encoder = new TextEncoder()

const digestOf = (text: string): string => (murmur2(encoder.encode(text)) >>> 0).toString(16).padStart(8, "0")

const Origin = Schema.Struct({
  [deadLetter.group]: Schema.String,
  [deadLetter.topic]: Schema.String,
  [deadLetter.partition]: Schema.FiniteFromString,
  [deadLetter.offset]: Schema.FiniteFromString
})
const decodeOrigin = Schema.decodeUnknownOption(Origin)

/**
 * The offset of the message of the group's partition that a dead letter stands for. None where it came from
 * another partition, as the letters do that lay here when there were fewer.
 */
export const messageOffset = (
  group: string,
  partition: { readonly topic: string; readonly partition: number },
  letter: LogRecord
): number | undefined => {
  const headers = Option.getOrUndefined(decodeOrigin(letter.headers))
  if (
    headers?.[deadLetter.group] !== group ||
    headers[deadLetter.topic] !== partition.topic ||
    headers[deadLetter.partition] !== partition.partition
  ) return undefined
  return headers[deadLetter.offset]
}

/** The record that stands for a message in the dead letters: as it was, with the reason and the origin in headers. */
export const deadLetterOf = (
  record: LogRecord,
  options: {
    readonly group: string
    readonly attempts: number
    readonly failure: Failure
  }
): Effect.Effect<NewRecord> =>
  Effect.map(DateTime.now, (now) => {
    const { code, message, stack = "" } = options.failure
    const frames = framesOf(stack)
    return {
      topic: deadLetterTopic(record.topic),
      key: record.key,
      value: record.value,
      headers: {
        ...record.headers,
        [deadLetter.error]: code,
        [deadLetter.message]: headerText(message),
        [deadLetter.stack]: headerText(frames.join("\n")),
        [deadLetter.digest]: digestOf([code, ...frames].join("\n")),
        [deadLetter.group]: options.group,
        [deadLetter.topic]: record.topic,
        [deadLetter.partition]: String(record.partition),
        [deadLetter.offset]: String(record.offset),
        [deadLetter.attempts]: String(options.attempts),
        [deadLetter.at]: DateTime.formatIso(now)
      }
    }
  })

/** For a log that does not take the dead letter whole. The message itself is still where the headers say it came from. */
export const withoutValue = (letter: NewRecord): NewRecord => ({
  ...letter,
  value: new Uint8Array(),
  headers: { ...letter.headers, [deadLetter.value]: "omitted" }
})

const headerText = (text: string): string => text.replaceAll("\0", "").slice(0, maxMessageLength)
