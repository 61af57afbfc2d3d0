import { Array, Duration, Effect, Layer } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { ModelEvent } from "../domain/model/ModelEvents.ts"
import { EventLog } from "../messaging/EventLog.ts"
import * as EventSchema from "../messaging/EventSchema.ts"
import { HandlingFailed } from "../messaging/Handling.ts"
import { keepTrying } from "../messaging/KeepTrying.ts"
import * as LargePayloads from "../messaging/LargePayloads.ts"
import { ArtifactSweep } from "./ArtifactSweep.ts"
import { modelEventsTopic } from "./ModelEventsOutbox.ts"
import { ModelRuntime } from "./ModelRuntime.ts"
import { Pipeline } from "./Pipeline.ts"
import * as SupervisedConsumer from "./SupervisedConsumer.ts"

export const pipelineGroup = "pipeline"

const partitions = 8
/** Stages at once: more would only wait for the runners, of which few inspect models side by side. */
const concurrency = 8

/** What fails here is a server that is away; half an hour of trying outlasts a restart of any. */
const retryDelays = [1, 2, 5, 10, 30, ...Array.makeBy(30, () => 60)].map((seconds) => Duration.seconds(seconds))

const known = EventSchema.first(ModelEvent)

/** What a newer program publishes besides is nothing that this one has work for. */
const decode = LargePayloads.resolved(EventSchema.decoder(
  Object.fromEntries(ModelEvent.members.map(({ fields }) => [fields.type.literal, known])),
  { unknownTypes: "skip" }
))

const retryable = ({ dependency, message }: DependencyUnavailable) =>
  new HandlingFailed({ code: `${dependency}_unavailable`, message })

/** Does what the events of models ask for: the pipeline's stages, and cleaning up after versions that are gone. */
export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const log = yield* EventLog
  const pipeline = yield* Pipeline
  const runtime = yield* ModelRuntime
  const { sweep } = yield* ArtifactSweep

  const handle = (event: ModelEvent): Effect.Effect<void, DependencyUnavailable> => {
    switch (event.type) {
      case "version.uploaded":
      case "version.validating":
      case "version.converting":
      case "version.deploying":
        return pipeline.advance(event.modelId, event.data.version)
      case "version.failed":
        return Effect.asVoid(sweep)
      case "version.retired":
        return Effect.andThen(runtime.unload(event.modelId, event.data.version), Effect.asVoid(sweep))
      case "model.deleted":
        return Effect.andThen(runtime.unload(event.modelId, undefined), Effect.asVoid(sweep))
      case "model.created":
      case "model.updated":
      case "alias.set":
      case "alias.removed":
      case "version.awaiting_upload":
      case "version.ready":
        return Effect.void
    }
  }

  yield* log.ensureTopics([{ name: modelEventsTopic, partitions }]).pipe(
    keepTrying("The pipeline waits for the event log")
  )
  yield* SupervisedConsumer.run("The pipeline's consumer", {
    group: pipelineGroup,
    topics: [modelEventsTopic],
    from: "earliest",
    decode,
    handle: (event: ModelEvent) => Effect.mapError(handle(event), retryable),
    retryDelays,
    concurrency
  })
}))
