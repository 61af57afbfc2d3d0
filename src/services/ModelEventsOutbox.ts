import { Effect, Layer, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { DependencyUnavailable, usualOutageSeconds } from "../domain/DependencyUnavailable.ts"
import { EventId, ModelEvent } from "../domain/model/ModelEvents.ts"
import { Outbox } from "../messaging/Outbox.ts"
import { ModelEvents } from "./ModelEvents.ts"

/** The topic of everything that happens to models, keyed by model id. */
export const modelEventsTopic = "model-events"

const encode = Schema.encodeUnknownEffect(Schema.fromJsonString(ModelEvent))

/** Writes events to the outbox, from where a relay publishes them. */
export const layer = Layer.effect(
  ModelEvents,
  Effect.gen(function*() {
    const outbox = yield* Outbox
    const random = yield* SecureRandom.SecureRandom

    return ModelEvents.of({
      publish: Effect.fn("publish_event")(function*({ id: modelId, name }, happenings, occurredAt) {
        const messages = yield* Effect.forEach(
          happenings,
          Effect.fnUntraced(function*({ type, data }) {
            const id = EventId.make(yield* random.uuidV7())
            const event = { id, type, version: 1, occurredAt, modelId, data: { model: name, ...data } }
            return {
              id,
              topic: modelEventsTopic,
              key: modelId,
              headers: { "event-type": type, "content-type": "application/json" },
              payload: yield* Effect.orDie(encode(event))
            }
          })
        )
        yield* outbox.append(messages).pipe(Effect.catchTags({
          OutboxUnavailable: (error) =>
            Effect.andThen(
              Effect.logWarning("The outbox is unavailable", error),
              new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })
            ),
          RecordTooLarge: Effect.die
        }))
      })
    })
  })
)
