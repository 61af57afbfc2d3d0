import { Schema } from "effect"
import { TaskId } from "../inference/Task.ts"

export const WebhookId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("WebhookId"))
export type WebhookId = typeof WebhookId.Type

/** What a webhook can be told of: the ways in which a task ends. */
export const WebhookEventType = Schema.Literals(["task.succeeded", "task.failed", "task.cancelled", "task.expired"])
export type WebhookEventType = typeof WebhookEventType.Type

/** An address that a key wants to be told at. */
export class Webhook extends Schema.Class<Webhook>("maas/domain/Webhook")({
  id: WebhookId,
  url: Schema.String,
  events: Schema.Array(WebhookEventType),
  createdAt: Schema.DateTimeUtcFromString
}) {}

/** It names one telling, also when that is tried again: receivers know repetitions by it (`webhook-id`). */
export const DeliveryId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("DeliveryId"))
export type DeliveryId = typeof DeliveryId.Type

export const DeliveryState = Schema.Literals(["pending", "delivered", "failed"])
export type DeliveryState = typeof DeliveryState.Type

/** One telling of one webhook. */
export const Delivery = Schema.Struct({
  id: DeliveryId,
  webhook: WebhookId,
  type: WebhookEventType,
  task: TaskId,
  state: DeliveryState,
  /** Tries since it was made, or since it was last asked for again. */
  attempts: Schema.Int,
  createdAt: Schema.DateTimeUtcFromString,
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromString)
}).annotate({ identifier: "WebhookDelivery" })
export type Delivery = typeof Delivery.Type

/** What came of one try: the status that the receiver answered, or why there was none. */
export const DeliveryAttempt = Schema.Struct({
  at: Schema.DateTimeUtcFromString,
  status: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(Schema.String),
  milliseconds: Schema.Int
}).annotate({ identifier: "WebhookDeliveryAttempt" })
export type DeliveryAttempt = typeof DeliveryAttempt.Type

/** The receiver wants no more of it (RFC 9110, section 15.5.11), as Standard Webhooks understand the status. */
const gone = 410

/**
 * What a delivery is after a try, of which `attempts` have been made and `most` may be. `status` is the receiver's; none
 * where it did not answer, and then `isFinal` says that it will not.
 */
export const afterAttempt = (
  outcome: { readonly status: number | null; readonly isFinal: boolean },
  attempts: number,
  most: number
): DeliveryState =>
  outcome.status !== null && outcome.status >= 200 && outcome.status < 300
    ? "delivered"
    : outcome.isFinal || outcome.status === gone || attempts >= most
    ? "failed"
    : "pending"

export class WebhookNotFound extends Schema.TaggedError<WebhookNotFound>()("WebhookNotFound", { id: WebhookId }) {
  override get message() {
    return `There is no webhook '${this.id}'`
  }
}

export class DeliveryNotFound extends Schema.TaggedError<DeliveryNotFound>()("DeliveryNotFound", { id: DeliveryId }) {
  override get message() {
    return `There is no delivery '${this.id}'; they are kept for a week`
  }
}

/** The URL is none that may be called. */
export class WebhookUrlRefused extends Schema.TaggedError<WebhookUrlRefused>()("WebhookUrlRefused", {
  reason: Schema.String
}) {
  override get message() {
    return `This URL can't be a webhook's: ${this.reason}`
  }
}

export class TooManyWebhooks extends Schema.TaggedError<TooManyWebhooks>()("TooManyWebhooks", { limit: Schema.Int }) {
  override get message() {
    return `This key has ${this.limit} webhooks: delete one first`
  }
}
