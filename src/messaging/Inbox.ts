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
}>()("maas/messaging/Inbox") {}

export class InboxUnavailable extends Schema.TaggedError<InboxUnavailable>()("InboxUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The inbox is unavailable (${this.operation})`
  }
}
