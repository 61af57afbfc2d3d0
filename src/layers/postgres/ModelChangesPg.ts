import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Option, PubSub, Queue, Schedule, Schema, Stream } from "effect"
import { ModelId } from "../../domain/model/Model.ts"
import type { ModelChange } from "../../services/ModelChanges.ts"
import { ModelChanges } from "../../services/ModelChanges.ts"
import { query } from "./PgErrors.ts"

const channel = "maas_models"
const decodeModelId = Schema.decodeUnknownOption(ModelId)

/** `NOTIFY` reaches every process that listens, at commit and never without one. */
export const layer = Layer.effect(
  ModelChanges,
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const changes = yield* PubSub.sliding<ModelChange>(1_024)

    const missed = PubSub.publish(changes, { _tag: "all" })
    const listen = Effect.scoped(Effect.gen(function*() {
      const notifications = yield* sql.listen(channel)
      // What happened while nobody listened is unknown
      yield* missed
      return yield* Effect.forever(
        Effect.flatMap(Queue.take(notifications), ({ payload }) =>
          Option.match(decodeModelId(payload), {
            onNone: () => Effect.logWarning("A notification names no model", payload),
            onSome: (modelId) => PubSub.publish(changes, { _tag: "model", modelId })
          }))
      )
    }))
    yield* listen.pipe(
      Effect.tapError((error) =>
        Effect.andThen(missed, Effect.logWarning("Lost the connection that listens for changes", error.message))
      ),
      Effect.retry(Schedule.spaced("1 second")),
      Effect.forkScoped
    )

    return ModelChanges.of({
      announce: (modelId) => query(sql`SELECT pg_notify(${channel}, ${modelId})`).pipe(Effect.asVoid),
      stream: Stream.fromPubSub(changes)
    })
  })
)
