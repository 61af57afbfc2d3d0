import { Array, DateTime, Duration, Effect, Layer, Schedule } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { TaskEvent } from "../domain/inference/TaskEvents.ts"
import type { DeliveryEvent } from "../domain/webhook/DeliveryEvents.ts"
import { EventLog } from "../messaging/EventLog.ts"
import { HandlingFailed } from "../messaging/Handling.ts"
import { keepTrying } from "../messaging/KeepTrying.ts"
import * as SupervisedConsumer from "./SupervisedConsumer.ts"
import { decodeTaskEvent, inferenceTasksTopic } from "./TaskEvents.ts"
import { inferenceTasksPartitions, taskRetryDelays } from "./TasksConsumer.ts"
import type { ReceiverBusy } from "./WebhookDeliveries.ts"
import {
  decodeDeliveryEvent,
  deliveriesInHand,
  WebhookDeliveries,
  webhookDeliveriesTopic
} from "./WebhookDeliveries.ts"
import { WebhookRepository } from "./WebhookRepository.ts"

/** Makes deliveries of what happens to tasks. */
export const webhooksGroup = "webhooks"
/** Delivers them. */
export const deliveriesGroup = "webhook-deliveries"

const partitions = 8

const keptFor = Duration.days(7)
const forgetEvery = "1 hour"

const consumer = "A consumer of webhooks"

/** A delivery that was put off is no try that failed: once the delays are used up it comes again for as long as it is kept. */
const putOffDelays = Array.makeBy(Duration.toHours(keptFor), () => Duration.hours(1))

const retryable = ({ dependency, message }: DependencyUnavailable) =>
  new HandlingFailed({ code: `${dependency}_unavailable`, message })

const putOff = (error: ReceiverBusy | DependencyUnavailable) =>
  error._tag === "ReceiverBusy"
    ? new HandlingFailed({ code: "webhook_receiver_busy", message: error.message })
    : retryable(error)

const notDelivered = new HandlingFailed({
  code: "webhook_not_delivered",
  message: "The receiver did not answer with success: its deliveries tell more"
})

/** Makes deliveries of what happens to tasks, and tries them until they arrive or `retryDelays` are used up. */
export const layer = ({ retryDelays }: { readonly retryDelays: ReadonlyArray<Duration.Duration> }) =>
  Layer.effectDiscard(Effect.gen(function*() {
    const log = yield* EventLog
    const deliveries = yield* WebhookDeliveries
    const repository = yield* WebhookRepository

    yield* log.ensureTopics([
      { name: inferenceTasksTopic, partitions: inferenceTasksPartitions },
      { name: webhookDeliveriesTopic, partitions }
    ]).pipe(keepTrying("Webhooks wait for the event log"))

    yield* SupervisedConsumer.run(consumer, {
      group: webhooksGroup,
      topics: [inferenceTasksTopic],
      from: "earliest",
      decode: decodeTaskEvent,
      handle: (event: TaskEvent) => Effect.mapError(deliveries.fanOut(event), retryable),
      retryDelays: taskRetryDelays
    })
    yield* SupervisedConsumer.run(consumer, {
      group: deliveriesGroup,
      topics: [webhookDeliveriesTopic],
      from: "earliest",
      decode: decodeDeliveryEvent,
      handle: ({ data: { delivery, round } }: DeliveryEvent) =>
        Effect.flatMap(
          Effect.mapError(deliveries.deliver(delivery, round), putOff),
          (next) => next === "again" ? Effect.fail(notDelivered) : Effect.void
        ),
      retryDelays: [...retryDelays, ...putOffDelays],
      concurrency: deliveriesInHand
    })
    yield* Effect.flatMap(DateTime.now, (now) => repository.forget(DateTime.subtractDuration(now, keptFor))).pipe(
      Effect.catch((error) => Effect.logDebug("Deliveries are forgotten later", error.message)),
      Effect.repeat(Schedule.spaced(forgetEvery)),
      Effect.forkScoped
    )
  }))
