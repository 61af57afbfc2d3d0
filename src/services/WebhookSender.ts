import type { Effect } from "effect"
import { Context, Schema } from "effect"
import type { DueDelivery } from "./WebhookRepository.ts"

/** The receiver gave no answer; `isFinal` where it is none that may be asked. */
export class NotSent extends Schema.TaggedError<NotSent>()("NotSent", {
  message: Schema.String,
  isFinal: Schema.Boolean
}) {}

/** Signs a delivery and posts it to its receiver. */
export class WebhookSender extends Context.Service<WebhookSender, {
  /** `timestamp` in seconds since the epoch. Succeeds with the status that was answered, whatever it is. */
  readonly send: (delivery: DueDelivery, timestamp: number) => Effect.Effect<number, NotSent>
}>()("maas/services/WebhookSender") {}
