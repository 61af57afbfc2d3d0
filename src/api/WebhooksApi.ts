import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import {
  Delivery,
  DeliveryAttempt,
  DeliveryId,
  DeliveryState,
  Webhook,
  WebhookEventType,
  WebhookId
} from "../domain/webhook/Webhook.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

const webhookPath = { webhook: WebhookId }
const deliveryPath = { ...webhookPath, delivery: DeliveryId }

/** `secret` signs what is sent; it is shown here and never again. */
export const NewWebhook = Schema.Struct({ ...Webhook.fields, secret: Schema.String }).annotate({
  identifier: "NewWebhook"
})

export const DeliveryView = Schema.Struct({ ...Delivery.fields, tries: Schema.Array(DeliveryAttempt) }).annotate({
  identifier: "WebhookDeliveryWithTries"
})

const create = HttpApiEndpoint.post("create", "/", {
  headers: idempotencyHeader,
  payload: Schema.Struct({
    url: Schema.String.check(Schema.isBetweenLength(1, 2_000)),
    /** Every end of a task, unless told otherwise. */
    events: Schema.optionalKey(Schema.Array(WebhookEventType).check(Schema.isMinLength(1), Schema.isUnique()))
  }),
  success: NewWebhook.pipe(HttpApiSchema.status(201)),
  error: [Problems.webhookUrlRefused, Problems.tooManyWebhooks, ...Problems.idempotency]
}).annotate(RequiredScope, "inference").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Tells the URL how each task of this key has ended, signed as Standard Webhooks say."
)

const list = HttpApiEndpoint.get("list", "/", { query: page(WebhookId), success: pageOf(Webhook) })
  .annotate(RequiredScope, "inference")

const get = HttpApiEndpoint.get("get", "/:webhook", {
  params: webhookPath,
  success: Webhook,
  error: Problems.webhookNotFound
}).annotate(RequiredScope, "inference")

const remove = HttpApiEndpoint.delete("remove", "/:webhook", {
  params: webhookPath,
  success: HttpApiSchema.NoContent,
  error: Problems.webhookNotFound
}).annotate(RequiredScope, "inference").annotate(CountedAs, "writes")

const rotateSecret = HttpApiEndpoint.post("rotateSecret", "/:webhook/rotate-secret", {
  params: webhookPath,
  headers: idempotencyHeader,
  success: NewWebhook,
  error: [Problems.webhookNotFound, ...Problems.idempotency]
}).annotate(RequiredScope, "inference").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "A new secret. For 24 hours deliveries are signed with it and with the one before."
)

const deliveries = HttpApiEndpoint.get("deliveries", "/:webhook/deliveries", {
  params: webhookPath,
  query: { ...page(DeliveryId), state: Schema.optionalKey(DeliveryState) },
  success: pageOf(Delivery),
  error: Problems.webhookNotFound
}).annotate(RequiredScope, "inference").annotate(
  OpenApi.Description,
  "What was sent in the last week, the newest first."
)

const delivery = HttpApiEndpoint.get("delivery", "/:webhook/deliveries/:delivery", {
  params: deliveryPath,
  success: DeliveryView,
  error: [Problems.webhookNotFound, Problems.deliveryNotFound]
}).annotate(RequiredScope, "inference").annotate(
  OpenApi.Description,
  "One delivery with every try and what came of it."
)

const redeliver = HttpApiEndpoint.post("redeliver", "/:webhook/deliveries/:delivery/redeliver", {
  params: deliveryPath,
  headers: idempotencyHeader,
  success: Delivery.pipe(HttpApiSchema.status(202)),
  error: [Problems.webhookNotFound, Problems.deliveryNotFound, ...Problems.idempotency]
}).annotate(RequiredScope, "inference").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Sends it again, with the same webhook-id and body, and with all tries anew."
)

export class WebhooksApi extends HttpApiGroup.make("webhooks")
  .add(create, list, get, remove, rotateSecret, deliveries, delivery, redeliver)
  .prefix("/api/v1/webhooks")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
