import type { DateTime, Effect, Redacted } from "effect"
import { Context } from "effect"
import type { ApiKeyId } from "../domain/access/ApiKey.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type {
  Delivery,
  DeliveryAttempt,
  DeliveryId,
  DeliveryState,
  Webhook,
  WebhookEventType,
  WebhookId
} from "../domain/webhook/Webhook.ts"

/** The bytes that deliveries are signed with. */
export type WebhookSecret = Redacted.Redacted<Uint8Array>

/** A delivery that is to be made now. */
export interface DueDelivery {
  readonly id: DeliveryId
  readonly url: string
  /** JSON text. */
  readonly body: string
  readonly attempts: number
  /** The one that counts, and while it is being replaced the one before. */
  readonly secrets: ReadonlyArray<WebhookSecret>
}

/** Where webhooks are kept, and what became of what they were told. */
export class WebhookRepository extends Context.Service<WebhookRepository, {
  /** Adds a webhook unless its key has `limit` already; tells whether it did. */
  readonly insert: (
    webhook: Webhook,
    owner: { readonly key: ApiKeyId; readonly secret: WebhookSecret },
    limit: number
  ) => Effect.Effect<boolean, DependencyUnavailable>
  /** `key` where given is whose webhook it must be. */
  readonly find: (
    id: WebhookId,
    key: ApiKeyId | undefined
  ) => Effect.Effect<Webhook | undefined, DependencyUnavailable>
  /** Newest first. */
  readonly list: (
    key: ApiKeyId | undefined,
    page: { readonly before: WebhookId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<Webhook>, DependencyUnavailable>
  /** With its deliveries. */
  readonly remove: (id: WebhookId) => Effect.Effect<void, DependencyUnavailable>
  /** The secret until now signs on until `until`. */
  readonly replaceSecret: (
    id: WebhookId,
    secret: WebhookSecret,
    until: DateTime.Utc
  ) => Effect.Effect<void, DependencyUnavailable>
  /** The webhooks of the key that want to be told of it. */
  readonly subscribed: (
    key: ApiKeyId,
    type: WebhookEventType
  ) => Effect.Effect<ReadonlyArray<WebhookId>, DependencyUnavailable>
  readonly addDeliveries: (
    deliveries: ReadonlyArray<Delivery>,
    body: string
  ) => Effect.Effect<void, DependencyUnavailable>
  readonly findDelivery: (
    webhook: WebhookId,
    id: DeliveryId
  ) => Effect.Effect<Delivery | undefined, DependencyUnavailable>
  /** Newest first. */
  readonly listDeliveries: (
    webhook: WebhookId,
    state: DeliveryState | undefined,
    page: { readonly before: DeliveryId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<Delivery>, DependencyUnavailable>
  /** The last hundred tries, the oldest first. */
  readonly attempts: (id: DeliveryId) => Effect.Effect<ReadonlyArray<DeliveryAttempt>, DependencyUnavailable>
  /** The URL of a delivery that `due` would give, and nothing that is large. */
  readonly receiver: (id: DeliveryId, round: number) => Effect.Effect<string | undefined, DependencyUnavailable>
  /** None where it is not pending, or was asked for again since. */
  readonly due: (
    id: DeliveryId,
    round: number,
    at: DateTime.Utc
  ) => Effect.Effect<DueDelivery | undefined, DependencyUnavailable>
  /** Notes a try; in a round that is over it changes nothing but the history. */
  readonly noteAttempt: (
    id: DeliveryId,
    round: number,
    attempt: DeliveryAttempt,
    state: DeliveryState
  ) => Effect.Effect<void, DependencyUnavailable>
  /** Makes it pending in a new round, whose number is the answer. */
  readonly askAgain: (id: DeliveryId) => Effect.Effect<number, DependencyUnavailable>
  /** Removes deliveries that were made before `at`. */
  readonly forget: (at: DateTime.Utc) => Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/WebhookRepository") {}
