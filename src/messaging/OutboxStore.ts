import type { Array, DateTime, Duration, Effect, Latch, Scope } from "effect"
import { Context } from "effect"
import type { OutboxMessage, OutboxUnavailable } from "./Outbox.ts"

/** Committed messages that are not published yet. */
export interface OutboxBacklog {
  readonly count: number
  /** Zero when there is none. */
  readonly oldestAge: Duration.Duration
}

/** A message that is committed and not published yet. */
export interface WaitingMessage {
  /** Grows in the order of appending along a key. */
  readonly position: string
  readonly id: string
  readonly topic: string
  readonly key: string
  readonly bytes: number
  readonly createdAt: DateTime.Utc
}

/** Messages that are left alone for now, because the log refuses them. */
export interface Withheld {
  readonly topics: ReadonlyArray<string>
  readonly keys: ReadonlyArray<{ readonly topic: string; readonly key: string }>
}

/** What a relay needs of the place where the messages are. */
export class OutboxStore extends Context.Service<OutboxStore, {
  /**
   * Hands the next committed messages to `publish` and removes them once it succeeds. Until then no other relay gets
   * messages of the same keys, so that nothing overtakes. If this process dies before they are removed, they are
   * handed out again. Returns how many were published; zero means that there is nothing to do, or that another relay
   * is doing it.
   */
  readonly relay: <E, R>(
    options: { readonly maxMessages: number; readonly maxBytes: number; readonly withheld: Withheld },
    publish: (messages: Array.NonEmptyReadonlyArray<OutboxMessage>) => Effect.Effect<void, E, R>
  ) => Effect.Effect<number, E | OutboxUnavailable, R>
  /** A latch that opens whenever there may be new messages. */
  readonly changes: Effect.Effect<Latch.Latch, never, Scope.Scope>
  /** What waits, the newest first; `before` is the position of a message. */
  readonly list: (
    page: { readonly before: string | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<WaitingMessage>, OutboxUnavailable>
  readonly backlog: Effect.Effect<OutboxBacklog, OutboxUnavailable>
}>()("maas/messaging/OutboxStore") {}
