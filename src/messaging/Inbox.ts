import type { Effect, Option } from "effect"
import { Context, Schema } from "effect"

/**
 * Makes the effect of an event that may be delivered several times happen once: the event's id is recorded in the same
 * transaction as what it causes.
 */
export class Inbox extends Context.Service<Inbox, {
  /**
   * Runs `effect` in a transaction together with the record of the id; `none` when this consumer has handled the event
   * before. When `effect` fails nothing is recorded. Of two deliveries at once the second waits for the first.
   *
   * Ids are forgotten after a set age, which must be longer than an event can take to be delivered again.
   */
  readonly once: <A, E, R>(
    consumer: string,
    eventId: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | InboxUnavailable, R>
  /**
   * As `once`, in a transaction with other events where several are asked for at the same time: many more a second.
   * Each still happens once and fails alone: when one fails, none of them has happened, and each is done again in a
   * transaction of its own.
   *
   * For an effect that is brief and touches nothing but the database, since it may run twice, though only the second
   * time counts, and since the others wait for it. Those that lock the same rows in different orders are better off
   * with `once`.
   */
  readonly onceTogether: <A, E, R>(
    consumer: string,
    eventId: string,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | InboxUnavailable, R>
}>()("maas/messaging/Inbox") {}

export class InboxUnavailable extends Schema.TaggedError<InboxUnavailable>()("InboxUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The inbox is unavailable (${this.operation})`
  }
}
