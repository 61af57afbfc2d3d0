/**
 * The transactional outbox: messages are written where the state is, in the transaction that changes it, and published
 * afterwards by an `OutboxRelay`. So nothing is published that did not commit, and everything that committed is
 * published: at least once, per key in commit order (C. Richardson, "Transactional outbox"; Debezium's outbox event
 * router has the same record layout).
 */
import type { Effect } from "effect"
import { Context, Schema } from "effect"
import type { NewRecord, RecordTooLarge } from "./EventLog.ts"
import * as RecordHeaders from "./RecordHeaders.ts"

/** Text in keys and headers holds no NUL character. */
export interface OutboxMessage {
  /** A UUID: what consumers recognise a repetition by. Published as the header `event-id`. */
  readonly id: string
  readonly topic: string
  /** Messages of one key are published in the order in which their transactions committed. */
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
  readonly payload: string | Uint8Array
}

const encoder = new TextEncoder()

/** The record that a message is published as. */
export const toRecord = (message: OutboxMessage): NewRecord => ({
  topic: message.topic,
  key: message.key,
  value: typeof message.payload === "string" ? encoder.encode(message.payload) : message.payload,
  headers: { ...message.headers, [RecordHeaders.eventId]: message.id }
})

export class Outbox extends Context.Service<Outbox, {
  /**
   * Writes messages as part of the caller's transaction; without one they are a transaction of their own. A second
   * transaction that appends to a key waits until the first has ended, which is what makes the order of a key the
   * order of its commits. Append late in a transaction, and to several keys in one call.
   *
   * The current span is carried on as the header `traceparent`, unless the message has one.
   */
  readonly append: (
    messages: ReadonlyArray<OutboxMessage>
  ) => Effect.Effect<void, OutboxUnavailable | RecordTooLarge>
}>()("maas/messaging/Outbox") {}

export class OutboxUnavailable extends Schema.TaggedError<OutboxUnavailable>()("OutboxUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The outbox is unavailable (${this.operation})`
  }
}
