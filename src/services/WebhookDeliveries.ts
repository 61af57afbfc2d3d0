import { Clock, Context, DateTime, Duration, Effect, Layer, Metric, Result, Schema, Semaphore } from "effect"
import { SecureRandom } from "effect/crypto"
import { DependencyUnavailable, usualOutageSeconds } from "../domain/DependencyUnavailable.ts"
import { taskJson } from "../domain/inference/Task.ts"
import type { TaskEvent } from "../domain/inference/TaskEvents.ts"
import { EventId } from "../domain/model/ModelEvents.ts"
import { DeliveryEvent } from "../domain/webhook/DeliveryEvents.ts"
import type { Delivery } from "../domain/webhook/Webhook.ts"
import { afterAttempt, DeliveryId, WebhookEventType } from "../domain/webhook/Webhook.ts"
import * as EventSchema from "../messaging/EventSchema.ts"
import { Inbox } from "../messaging/Inbox.ts"
import * as LargePayloads from "../messaging/LargePayloads.ts"
import { Outbox } from "../messaging/Outbox.ts"
import { KeyedPlaces } from "../resilience/bulkhead/KeyedPlaces.ts"
import { summaryOf, TaskRepository } from "./TaskRepository.ts"
import { WebhookRepository } from "./WebhookRepository.ts"
import { WebhookSender } from "./WebhookSender.ts"

export const webhookDeliveriesTopic = "webhook-deliveries"

/** Larger results are left out of what is told: they are fetched by the task's id. In characters of JSON. */
const largestResult = 65_536

const encode = Schema.encodeUnknownEffect(Schema.fromJsonString(DeliveryEvent))

/** Reads what asks for a delivery. What a newer program asks for besides is nothing to this one. */
export const decodeDeliveryEvent = LargePayloads.resolved(EventSchema.decoder(
  { [DeliveryEvent.fields.type.literal]: EventSchema.first(DeliveryEvent) },
  { unknownTypes: "skip" }
))

const isEnd = Schema.is(WebhookEventType)

const tries = Metric.counter("maas_webhook_attempts_total", {
  description: "Tries of telling webhooks, by what the delivery was afterwards",
  incremental: true
})

/** Deliveries in hand at once: most of them wait for others to the same receiver, and so hold up none to another. */
export const deliveriesInHand = 2_048
/** Tries under way at once, to all receivers. */
const atOnce = 128
/** And to one: a receiver is what is behind a scheme, host and port, whoever's webhook it is. */
const atOncePerReceiver = 8
/** How long a delivery waits for others to its receiver before it is put off. */
const patience = Duration.seconds(5)

/** Its receiver is so slow that no place came free in time: nothing was tried. */
export class ReceiverBusy extends Schema.TaggedError<ReceiverBusy>()("ReceiverBusy", {}) {
  override get message() {
    return `The receiver is slow: ${atOncePerReceiver} deliveries to it are under way, and none ended within ${
      Duration.format(patience)
    }`
  }
}

const receiverOf = (url: string): string => URL.parse(url)?.origin ?? url

const postgresAway = (error: { readonly message: string }) =>
  Effect.andThen(
    Effect.logWarning("What webhooks need is unavailable", error),
    new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })
  )

/** Tells the webhooks of a task's key how the task has ended. */
export class WebhookDeliveries extends Context.Service<WebhookDeliveries, {
  /** Makes a delivery for each webhook that wants to know; of an event that comes again, none. */
  readonly fanOut: (event: TaskEvent) => Effect.Effect<void, DependencyUnavailable>
  /** Asks for a delivery, inside the transaction that made it pending. */
  readonly ask: (
    deliveries: ReadonlyArray<{ readonly id: DeliveryId; readonly round: number }>,
    at: DateTime.Utc
  ) => Effect.Effect<void, DependencyUnavailable>
  /**
   * Makes one try. Answers whether another one is due. Killed after the try and before it is noted, it tries again: a
   * receiver knows that by `webhook-id`. Few tries go to one receiver at once, so that one that is slow holds up no other.
   */
  readonly deliver: (
    id: DeliveryId,
    round: number
  ) => Effect.Effect<"over" | "again", ReceiverBusy | DependencyUnavailable>
}>()("maas/services/WebhookDeliveries") {
  /** `mostAttempts`: how often a delivery is tried, all in all. */
  static readonly layer = ({ mostAttempts }: { readonly mostAttempts: number }) =>
    Layer.effect(
      WebhookDeliveries,
      Effect.gen(function*() {
        const repository = yield* WebhookRepository
        const tasks = yield* TaskRepository
        const sender = yield* WebhookSender
        const outbox = yield* Outbox
        const inbox = yield* Inbox
        const random = yield* SecureRandom.SecureRandom

        const ask: WebhookDeliveries["Service"]["ask"] = Effect.fnUntraced(function*(deliveries, occurredAt) {
          const messages = yield* Effect.forEach(
            deliveries,
            Effect.fnUntraced(function*({ id: delivery, round }) {
              const id = EventId.make(yield* random.uuidV7())
              const type = "webhook.delivery"
              return {
                id,
                topic: webhookDeliveriesTopic,
                key: delivery,
                headers: { "event-type": type, "content-type": "application/json" },
                payload: yield* Effect.orDie(
                  encode({ id, type, version: 1, occurredAt, data: { delivery, round } })
                )
              }
            })
          )
          yield* outbox.append(messages).pipe(
            Effect.catchTags({ OutboxUnavailable: postgresAway, RecordTooLarge: Effect.die })
          )
        })

        const bodyOf = Effect.fnUntraced(function*({ type, occurredAt, data }: TaskEvent) {
          const task = yield* tasks.find(data.task, undefined)
          if (task === undefined) return undefined
          const { progress } = task
          const outputs = progress.state === "succeeded" && progress.outputs.length <= largestResult
            ? progress.outputs
            : null
          return `{"type":"${type}","timestamp":"${DateTime.formatIso(occurredAt)}","data":${
            taskJson(summaryOf(task), outputs)
          }}`
        })

        const fanOut = Effect.fn("WebhookDeliveries.fanOut")(function*(event: TaskEvent) {
          const { data: { key, task }, id, type } = event
          if (!isEnd(type)) return
          const webhooks = yield* repository.subscribed(key, type)
          if (webhooks.length === 0) return
          const body = yield* bodyOf(event)
          if (body === undefined) return yield* Effect.logInfo("A task was forgotten before its webhooks were told")
          const createdAt = yield* DateTime.now
          const deliveries = yield* Effect.forEach(webhooks, (webhook) =>
            Effect.map(random.uuidV7(), (uuid): Delivery => ({
              id: DeliveryId.make(uuid),
              webhook,
              type,
              task,
              state: "pending",
              attempts: 0,
              createdAt,
              endedAt: null
            })))
          yield* inbox.onceTogether(
            "webhooks",
            id,
            Effect.andThen(
              repository.addDeliveries(deliveries, body),
              ask(deliveries.map((delivery) => ({ id: delivery.id, round: 1 })), createdAt)
            )
          ).pipe(Effect.catchTag("InboxUnavailable", postgresAway))
        })

        const slots = yield* Semaphore.make(atOnce)
        const receivers = new KeyedPlaces({
          limit: atOncePerReceiver,
          queue: deliveriesInHand,
          maxWait: patience,
          refusal: () =>
            new ReceiverBusy()
        })

        const attempt = Effect.fnUntraced(function*(id: DeliveryId, round: number) {
          const at = yield* DateTime.now
          const due = yield* repository.due(id, round, at)
          if (due === undefined) {
            return "over"
          }
          const started = yield* Clock.monotonicTimeNanos
          const answered = yield* Effect.result(sender.send(due, Math.floor(DateTime.toEpochMillis(at) / 1_000)))
          const milliseconds = Math.round(Number((yield* Clock.monotonicTimeNanos) - started) / 1e6)
          const outcome = Result.match(answered, {
            onSuccess: (status) => ({ status, error: null, isFinal: false }),
            onFailure: ({ isFinal, message }) => ({ status: null, error: message, isFinal })
          })
          const state = afterAttempt(outcome, due.attempts + 1, mostAttempts)
          const { error, status } = outcome
          yield* Metric.update(Metric.withAttributes(tries, { state }), 1)
          yield* repository.noteAttempt(id, round, { at, status, error, milliseconds }, state)
          yield* Effect.logInfo("A webhook was told").pipe(
            Effect.annotateLogs({ delivery: id, state, status: status ?? "none", ...(error === null ? {} : { error }) })
          )
          return state === "pending" ? "again" : "over"
        })

        const deliver = Effect.fn("deliver_webhook")(function*(id: DeliveryId, round: number) {
          const url = yield* repository.receiver(id, round)
          if (url === undefined) {
            return "over"
          }
          return yield* receivers.inPlace(slots.withPermit(attempt(id, round)), receiverOf(url))
        })

        return WebhookDeliveries.of({ fanOut, ask, deliver })
      })
    )
}
