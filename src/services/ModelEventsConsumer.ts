import { Effect, Layer, Option, Schedule, Schema } from "effect"
import { ModelEvent } from "../domain/model/ModelEvents.ts"
import type { LogRecord } from "../messaging/EventLog.ts"
import { EventLog } from "../messaging/EventLog.ts"
import { ArtifactSweep } from "./ArtifactSweep.ts"
import { modelEventsTopic } from "./ModelEventsOutbox.ts"
import { Pipeline } from "./Pipeline.ts"

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(ModelEvent))
const text = new TextDecoder()

export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const log = yield* EventLog
  const pipeline = yield* Pipeline
  const sweep = yield* ArtifactSweep
  yield* log.ensureTopics([{ name: modelEventsTopic, partitions: 8 }])
  const handle = Effect.fnUntraced(function*(record: LogRecord) {
    const event = decode(text.decode(record.value))
    if (Option.isNone(event)) return
    const { value } = event
    switch (value.type) {
      case "version.uploaded":
      case "version.validating":
      case "version.converting":
      case "version.deploying":
        return yield* pipeline.advance(value.modelId, value.data.version)
      case "version.failed":
      case "version.retired":
      case "model.deleted":
        return yield* Effect.asVoid(sweep.sweep)
    }
  })
  yield* log.subscribe(
    { group: "pipeline", topics: [modelEventsTopic], from: "earliest" },
    (partition) =>
      Effect.forever(Effect.gen(function*() {
        const records = yield* partition.take
        for (const record of records) {
          yield* Effect.retry(handle(record), Schedule.spaced("1 second"))
          yield* partition.commit(record.offset + 1)
        }
      })).pipe(Effect.catch((error) => Effect.logWarning("lost", error)))
  ).pipe(Effect.forkScoped)
}))
