import { Schema } from "effect"
import { EventId } from "../model/ModelEvents.ts"
import { DeliveryId } from "./Webhook.ts"

/** Asks for a delivery to be made: everything that the topic `webhook-deliveries` carries, keyed by delivery id. */
export const DeliveryEvent = Schema.Struct({
  id: EventId,
  type: Schema.Literal("webhook.delivery"),
  /** The version of this event's schema. */
  version: Schema.Literal(1),
  occurredAt: Schema.DateTimeUtcFromString,
  data: Schema.Struct({
    delivery: DeliveryId,
    /** Grows each time that the delivery is asked for again, so that an older wish is known as one. */
    round: Schema.Int
  })
})
export type DeliveryEvent = typeof DeliveryEvent.Type
