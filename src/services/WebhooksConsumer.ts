import { Cause, DateTime, Duration, Effect, Layer, Schedule } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { TaskEvent } from "../domain/inference/TaskEvents.ts"
import type { DeliveryEvent } from "../domain/webhook/DeliveryEvents.ts"
import * as Consumer from "../messaging/Consumer.ts"
import { EventLog } from "../messaging/EventLog.ts"
import { HandlingFailed } from "../messaging/Handling.ts"
import { keepTrying } from "../messaging/KeepTrying.ts"
import { decodeTaskEvent, inferenceTasksTopic } from "./TaskEvents.ts"
import { inferenceTasksPartitions, taskRetryDelays } from "./TasksConsumer.ts"
import { decodeDeliveryEvent, WebhookDeliveries, webhookDeliveriesTopic } from "./WebhookDeliveries.ts"
import { WebhookRepository } from "./WebhookRepository.ts"

/** Makes deliveries of what happens to tasks. */
export const webhooksGroup = "webhooks"
/** Delivers them. */
export const deliveriesGroup = "webhook-deliveries"

const partitions = 8
/** Receivers that are slow hold a place each for as long as they may take to answer. */
const concurrency = 32

const keptFor = Duration.days(7)
const forgetEvery = "1 hour"

const retryable = ({ dependency, message }: DependencyUnavailable) =>
  new HandlingFailed({ code: `${dependency}_unavailable`, message })

const notDelivered = new HandlingFailed({
  code: "webhook_not_delivered",
  message: "The receiver did not answer with success: its deliveries tell more"
})

const supervised = <A, R, R2>(options: Consumer.ConsumerOptions<A, R, R2>) =>
  Consumer.run(options).pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.void
        : Effect.logError("A consumer of webhooks failed and begins anew", cause)
    ),
    Effect.sandbox,
    Effect.retry(Schedule.spaced("1 second")),
    Effect.forkScoped
  )

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

    yield* supervised({
      group: webhooksGroup,
      topics: [inferenceTasksTopic],
      from: "earliest",
      decode: decodeTaskEvent,
      handle: (event: TaskEvent) => Effect.mapError(deliveries.fanOut(event), retryable),
      retryDelays: taskRetryDelays
    })
    yield* supervised({
      group: deliveriesGroup,
      topics: [webhookDeliveriesTopic],
      from: "earliest",
      decode: decodeDeliveryEvent,
      handle: ({ data: { delivery, round } }: DeliveryEvent) =>
        Effect.flatMap(
          Effect.mapError(deliveries.deliver(delivery, round), retryable),
          (next) => next === "again" ? Effect.fail(notDelivered) : Effect.void
        ),
      retryDelays,
      concurrency
    })
    yield* Effect.flatMap(DateTime.now, (now) => repository.forget(DateTime.subtractDuration(now, keptFor))).pipe(
      Effect.catch((error) => Effect.logDebug("Deliveries are forgotten later", error.message)),
      Effect.repeat(Schedule.spaced(forgetEvery)),
      Effect.forkScoped
    )
  }))
