/** The handlers of the API by what they need: the registry's have a database, the runtime's have models. */
import { Layer } from "effect"
import * as DeadLettersHandlers from "./DeadLettersHandlers.ts"
import * as EventsHandlers from "./EventsHandlers.ts"
import * as InferenceHandlers from "./InferenceHandlers.ts"
import * as KeysHandlers from "./KeysHandlers.ts"
import * as ModelsHandlers from "./ModelsHandlers.ts"
import * as OpenInferenceHandlers from "./OpenInferenceHandlers.ts"
import * as SagasHandlers from "./SagasHandlers.ts"
import * as TasksHandlers from "./TasksHandlers.ts"
import * as VersionsHandlers from "./VersionsHandlers.ts"
import * as WebhooksHandlers from "./WebhooksHandlers.ts"

export const registry = Layer.mergeAll(
  ModelsHandlers.layer,
  VersionsHandlers.layer,
  KeysHandlers.layer,
  SagasHandlers.layer,
  WebhooksHandlers.layer,
  DeadLettersHandlers.layer,
  EventsHandlers.layer
)

export const runtime = Layer.mergeAll(InferenceHandlers.layer, TasksHandlers.layer, OpenInferenceHandlers.layer)
