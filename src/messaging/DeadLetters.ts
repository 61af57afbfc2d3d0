/**
 * The book of dead letters: what lies in the `.dlq` topics, as rows that an operator can find, replay and discard. The
 * topics are the record of what happened, the book is what is to be done about it.
 */
import type { DateTime, Effect } from "effect"
import { Context, Schema } from "effect"
import type { LogRecord } from "./EventLog.ts"

export const deadLetterStates = ["waiting", "replayed", "discarded"] as const
export type DeadLetterState = (typeof deadLetterStates)[number]

export interface DeadLetter {
  /** A UUID of version 7. */
  readonly id: string
  /** Where the message came from, and goes when it is replayed. */
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** The group that could not handle it. */
  readonly group: string
  readonly key: string
  /** What consumers recognise the message by; none where it had none. */
  readonly eventId: string | undefined
  readonly error: string
  readonly message: string
  readonly stack: string
  /** The same for failures of the same kind. */
  readonly digest: string
  readonly attempts: number
  readonly failedAt: DateTime.Utc
  readonly state: DeadLetterState
  /** How often it has been replayed. */
  readonly replays: number
}

/** What was done with a dead letter: `returned` when it failed again after a replay. */
export interface DeadLetterAct {
  readonly act: "replayed" | "discarded" | "returned"
  readonly by: string
  readonly reason: string | undefined
  readonly at: DateTime.Utc
}

export interface DeadLetterDetails {
  readonly letter: DeadLetter
  readonly headers: Readonly<Record<string, string>>
  readonly value: Uint8Array
  /** The oldest first. */
  readonly acts: ReadonlyArray<DeadLetterAct>
}

export interface DeadLetterFilter {
  readonly topic?: string | undefined
  readonly group?: string | undefined
  readonly error?: string | undefined
  readonly key?: string | undefined
  readonly state?: DeadLetterState | undefined
}

export class DeadLetters extends Context.Service<DeadLetters, {
  /**
   * Enters a record of a `.dlq` topic; one that is known already, as often as it comes, is entered once. One that was
   * replayed and has failed again waits again.
   */
  readonly record: (letter: LogRecord) => Effect.Effect<void, DeadLettersUnavailable>
  /** The newest first. */
  readonly list: (
    filter: DeadLetterFilter,
    page: { readonly before: string | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<DeadLetter>, DeadLettersUnavailable>
  readonly find: (id: string) => Effect.Effect<DeadLetterDetails, DeadLetterUnknown | DeadLettersUnavailable>
  /**
   * Publishes the message where it came from, with the id that it had, for the group that failed and no other: in one
   * transaction with the record of who did it.
   */
  readonly replay: (
    id: string,
    by: string
  ) => Effect.Effect<DeadLetter, DeadLetterUnknown | DeadLetterSettled | DeadLetterLost | DeadLettersUnavailable>
  /** Replays what waits, the oldest first, each as `replay` does. Returns how many; those that are lost are left. */
  readonly replayAll: (
    filter: Omit<DeadLetterFilter, "state">,
    by: string
  ) => Effect.Effect<number, DeadLettersUnavailable>
  readonly discard: (
    id: string,
    by: string,
    reason: string
  ) => Effect.Effect<DeadLetter, DeadLetterUnknown | DeadLetterSettled | DeadLettersUnavailable>
  /** How many wait, by topic and group. */
  readonly waiting: Effect.Effect<
    ReadonlyArray<{ readonly topic: string; readonly group: string; readonly count: number }>,
    DeadLettersUnavailable
  >
}>()("maas/messaging/DeadLetters") {}

export class DeadLettersUnavailable extends Schema.TaggedError<DeadLettersUnavailable>()("DeadLettersUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The dead letters are unavailable (${this.operation})`
  }
}

export class DeadLetterUnknown extends Schema.TaggedError<DeadLetterUnknown>()("DeadLetterUnknown", {
  id: Schema.String
}) {
  override get message() {
    return `There is no dead letter '${this.id}'`
  }
}

/** It does not wait any more. */
export class DeadLetterSettled extends Schema.TaggedError<DeadLetterSettled>()("DeadLetterSettled", {
  id: Schema.String,
  state: Schema.Literals(deadLetterStates)
}) {
  override get message() {
    return `The dead letter '${this.id}' is ${this.state} already`
  }
}

/** Its value was too large to be kept, and the log no longer has it; or it is too large to be published. */
export class DeadLetterLost extends Schema.TaggedError<DeadLetterLost>()("DeadLetterLost", { id: Schema.String }) {
  override get message() {
    return `The message of the dead letter '${this.id}' can't be published: its value is gone from the log, or too large`
  }
}
