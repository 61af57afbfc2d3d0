import { Effect, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { NewWebhook } from "../../api/WebhooksApi.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { Delivery, DeliveryId, WebhookEventType, WebhookId } from "../../domain/webhook/Webhook.ts"
import type { WebhookWithSecret } from "../../services/Webhooks.ts"
import { Webhooks } from "../../services/Webhooks.ts"
import { secretText } from "../webhooks/StandardWebhooks.ts"
import { answerOf, fingerprint, makeIdempotent } from "./IdempotentAnswer.ts"
import { makePage } from "./Pages.ts"

const page = makePage(Schema.encodeEffect(cursorOf(WebhookId)))
const deliveryPage = makePage(Schema.encodeEffect(cursorOf(DeliveryId)))

const created = answerOf(NewWebhook, 201)
const rotated = answerOf(NewWebhook, 200)
const accepted = answerOf(Delivery, 202)

const withSecret = ({ secret, webhook: { id, url, events, createdAt } }: WebhookWithSecret) => ({
  id,
  url,
  events,
  createdAt,
  secret: secretText(secret)
})

export const layer = HttpApiBuilder.group(
  MaasApi,
  "webhooks",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const webhooks = yield* Webhooks

    return handlers.handleAll({
      create: Effect.fnUntraced(function*({ headers, payload: { url, events = WebhookEventType.literals } }) {
        const caller = yield* Caller
        return yield* idempotent(
          headers["idempotency-key"],
          () => fingerprint("create-webhook", url, ...events),
          Effect.flatMap(
            webhooks.create(caller, { url, events }),
            (made) => created(withSecret(made), { location: `/api/v1/webhooks/${made.webhook.id}` })
          )
        )
      }),
      list: ({ query }) =>
        Effect.flatMap(Caller, (caller) => page(query, (cut) => webhooks.list(caller, cut), ({ id }) => id)),
      get: ({ params }) => Effect.flatMap(Caller, (caller) => webhooks.get(caller, params.webhook)),
      remove: ({ params }) => Effect.flatMap(Caller, (caller) => webhooks.remove(caller, params.webhook)),
      rotateSecret: Effect.fnUntraced(function*({ headers, params: { webhook } }) {
        const caller = yield* Caller
        return yield* idempotent(
          headers["idempotency-key"],
          () => fingerprint("rotate-webhook-secret", webhook),
          Effect.flatMap(webhooks.rotate(caller, webhook), (made) => rotated(withSecret(made)))
        )
      }),
      deliveries: ({ params, query }) =>
        Effect.flatMap(
          Caller,
          (caller) =>
            deliveryPage(query, (cut) => webhooks.deliveries(caller, params.webhook, query.state, cut), ({ id }) => id)
        ),
      delivery: ({ params }) =>
        Effect.flatMap(Caller, (caller) =>
          Effect.map(
            webhooks.delivery(caller, params.webhook, params.delivery),
            ({ delivery, tries }) => ({ ...delivery, tries })
          )),
      redeliver: Effect.fnUntraced(function*({ headers, params: { webhook, delivery } }) {
        const caller = yield* Caller
        return yield* idempotent(
          headers["idempotency-key"],
          () => fingerprint("redeliver", webhook, delivery),
          Effect.flatMap(webhooks.redeliver(caller, webhook, delivery), (asked) => accepted(asked))
        )
      })
    })
  })
)
