import { Context, DateTime, Duration, Effect, Layer, Redacted, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import type { ApiKeyId } from "../domain/access/ApiKey.ts"
import type { Principal } from "../domain/access/Principal.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type {
  Delivery,
  DeliveryAttempt,
  DeliveryId,
  DeliveryState,
  WebhookEventType,
  WebhookUrlRefused
} from "../domain/webhook/Webhook.ts"
import { DeliveryNotFound, TooManyWebhooks, Webhook, WebhookId, WebhookNotFound } from "../domain/webhook/Webhook.ts"
import { checkWebhookUrl } from "../domain/webhook/WebhookUrl.ts"
import { Transaction } from "./Transaction.ts"
import { WebhookDeliveries } from "./WebhookDeliveries.ts"
import type { WebhookSecret } from "./WebhookRepository.ts"
import { WebhookRepository } from "./WebhookRepository.ts"

/** Standard Webhooks ask for 24 to 64 bytes. */
const secretBytes = 32
/** How long the secret that was replaced signs on, so that receivers can change over. */
const overlap = Duration.hours(24)
const perKey = 20

export interface WebhookWithSecret {
  readonly webhook: Webhook
  readonly secret: WebhookSecret
}

type Missing = WebhookNotFound | DependencyUnavailable

/** Takes down where keys want to be told of their tasks, and shows what became of it. A key sees its own, an admin all. */
export class Webhooks extends Context.Service<Webhooks, {
  /** The secret is in this answer and nowhere else. */
  readonly create: (
    owner: Principal,
    draft: { readonly url: string; readonly events: ReadonlyArray<WebhookEventType> }
  ) => Effect.Effect<WebhookWithSecret, WebhookUrlRefused | TooManyWebhooks | DependencyUnavailable>
  readonly get: (viewer: Principal, id: WebhookId) => Effect.Effect<Webhook, Missing>
  /** Newest first. */
  readonly list: (
    viewer: Principal,
    page: { readonly before: WebhookId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<Webhook>, DependencyUnavailable>
  readonly remove: (viewer: Principal, id: WebhookId) => Effect.Effect<void, Missing>
  /** A new secret; for a day deliveries are signed with both. */
  readonly rotate: (viewer: Principal, id: WebhookId) => Effect.Effect<WebhookWithSecret, Missing>
  /** Newest first. */
  readonly deliveries: (
    viewer: Principal,
    id: WebhookId,
    state: DeliveryState | undefined,
    page: { readonly before: DeliveryId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<Delivery>, Missing>
  readonly delivery: (
    viewer: Principal,
    id: WebhookId,
    delivery: DeliveryId
  ) => Effect.Effect<
    { readonly delivery: Delivery; readonly tries: ReadonlyArray<DeliveryAttempt> },
    Missing | DeliveryNotFound
  >
  /** Asks for the delivery again, whatever came of it before: with the same id and body, and all tries anew. */
  readonly redeliver: (
    viewer: Principal,
    id: WebhookId,
    delivery: DeliveryId
  ) => Effect.Effect<Delivery, Missing | DeliveryNotFound>
}>()("maas/services/Webhooks") {
  static readonly layer = (options: { readonly allowPrivate: boolean }) =>
    Layer.effect(
      Webhooks,
      Effect.gen(function*() {
        const repository = yield* WebhookRepository
        const deliveries = yield* WebhookDeliveries
        const transaction = yield* Transaction
        const random = yield* SecureRandom.SecureRandom

        const visibleTo = (viewer: Principal): ApiKeyId | undefined => viewer.may("admin") ? undefined : viewer.keyId
        const newSecret = Effect.map(
          random.randomBytes(secretBytes),
          (bytes): WebhookSecret => Redacted.make(bytes, { label: "webhook secret" })
        )

        const get = Effect.fn("Webhooks.get")(function*(viewer: Principal, id: WebhookId) {
          return (yield* repository.find(id, visibleTo(viewer))) ?? (yield* new WebhookNotFound({ id }))
        })

        const find = Effect.fnUntraced(function*(viewer: Principal, id: WebhookId, delivery: DeliveryId) {
          yield* get(viewer, id)
          return (yield* repository.findDelivery(id, delivery)) ?? (yield* new DeliveryNotFound({ id: delivery }))
        })

        return Webhooks.of({
          create: Effect.fn("Webhooks.create")(function*(owner, { url, events }) {
            const checked = checkWebhookUrl(url, options)
            if (Result.isFailure(checked)) return yield* checked.failure
            const secret = yield* newSecret
            const webhook = new Webhook({
              id: WebhookId.make(yield* random.uuidV7()),
              url: checked.success.href,
              events,
              createdAt: yield* DateTime.now
            })
            const added = yield* repository.insert(webhook, { key: owner.keyId, secret }, perKey)
            if (!added) return yield* new TooManyWebhooks({ limit: perKey })
            return { webhook, secret }
          }),
          get,
          list: (viewer, page) => repository.list(visibleTo(viewer), page),
          remove: Effect.fn("Webhooks.remove")(function*(viewer, id) {
            yield* get(viewer, id)
            yield* repository.remove(id)
          }),
          rotate: Effect.fn("Webhooks.rotate")(function*(viewer, id) {
            const webhook = yield* get(viewer, id)
            const secret = yield* newSecret
            yield* repository.replaceSecret(id, secret, DateTime.addDuration(yield* DateTime.now, overlap))
            return { webhook, secret }
          }),
          deliveries: Effect.fn("Webhooks.deliveries")(function*(viewer, id, state, page) {
            yield* get(viewer, id)
            return yield* repository.listDeliveries(id, state, page)
          }),
          delivery: Effect.fn("Webhooks.delivery")(function*(viewer, id, delivery) {
            const found = yield* find(viewer, id, delivery)
            return { delivery: found, tries: yield* repository.attempts(delivery) }
          }),
          redeliver: Effect.fn("Webhooks.redeliver")(function*(viewer, id, delivery) {
            const found = yield* find(viewer, id, delivery)
            const now = yield* DateTime.now
            yield* transaction.run(
              Effect.flatMap(repository.askAgain(delivery), (round) => deliveries.ask([{ id: delivery, round }], now))
            )
            return { ...found, state: "pending" as const, attempts: 0, endedAt: null }
          })
        })
      })
    )
}
