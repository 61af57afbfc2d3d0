import type { DateTime } from "effect"
import { Context, Effect, Layer, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { DependencyUnavailable, usualOutageSeconds } from "../domain/DependencyUnavailable.ts"
import { TaskEvent } from "../domain/inference/TaskEvents.ts"
import { EventId } from "../domain/model/ModelEvents.ts"
import * as EventSchema from "../messaging/EventSchema.ts"
import * as LargePayloads from "../messaging/LargePayloads.ts"
import { Outbox } from "../messaging/Outbox.ts"
import type { TaskRecord } from "./TaskRepository.ts"

/** The topic of everything that happens to tasks, keyed by task id. */
export const inferenceTasksTopic = "inference-tasks"

const encode = Schema.encodeUnknownEffect(Schema.fromJsonString(TaskEvent))

const known = EventSchema.first(TaskEvent)

/** Reads what `TaskEvents` publishes. States that a newer program knows besides are nothing to this one. */
export const decodeTaskEvent = LargePayloads.resolved(EventSchema.decoder(
  Object.fromEntries(TaskEvent.members.map(({ fields }) => [fields.type.literal, known])),
  { unknownTypes: "skip" }
))

/** Publishes what happened to a task. */
export class TaskEvents extends Context.Service<TaskEvents, {
  /** Inside the transaction that brought the task into its state: published if that commits, never if it does not. */
  readonly publish: (task: TaskRecord, at: DateTime.Utc) => Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/TaskEvents") {
  static readonly layer = Layer.effect(
    TaskEvents,
    Effect.gen(function*() {
      const outbox = yield* Outbox
      const random = yield* SecureRandom.SecureRandom

      return TaskEvents.of({
        publish: Effect.fn("publish_event")(
          function*({ id: task, key, modelId, model, version, progress }, occurredAt) {
            const id = EventId.make(yield* random.uuidV7())
            const type = `task.${progress.state}`
            const payload = yield* Effect.orDie(encode({
              id,
              type,
              version: 1,
              occurredAt,
              modelId,
              data: {
                task,
                key,
                model,
                modelVersion: version,
                attempt: "attempt" in progress ? progress.attempt : 0,
                ...("error" in progress ? { error: progress.error } : {})
              }
            }))
            const headers = { "event-type": type, "content-type": "application/json" }
            yield* outbox.append([{ id, topic: inferenceTasksTopic, key: task, headers, payload }]).pipe(
              Effect.catchTags({
                OutboxUnavailable: (error) =>
                  Effect.andThen(
                    Effect.logWarning("The outbox is unavailable", error),
                    new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })
                  ),
                RecordTooLarge: Effect.die
              })
            )
          }
        )
      })
    })
  )
}
