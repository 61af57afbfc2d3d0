import { Schema } from "effect"
import { ApiKeyId } from "../access/ApiKey.ts"
import { ModelId } from "../model/Model.ts"
import { EventId } from "../model/ModelEvents.ts"
import { VersionNumber } from "../model/Version.ts"
import { TaskError, TaskId } from "./Task.ts"

const event = <const Type extends string, Data extends Schema.Struct.Fields>(type: Type, data: Data) =>
  Schema.Struct({
    id: EventId,
    type: Schema.Literal(type),
    /** The version of this event's schema. */
    version: Schema.Literal(1),
    occurredAt: Schema.DateTimeUtcFromString,
    modelId: ModelId,
    data: Schema.Struct({
      task: TaskId,
      /** The key whose task it is. */
      key: ApiKeyId,
      model: Schema.String,
      modelVersion: VersionNumber,
      /** How often it was taken up so far. */
      attempt: Schema.Int,
      ...data
    })
  })

/** One event for each state that a task enters: everything that the topic `inference-tasks` carries, keyed by task id. */
export const TaskEvent = Schema.Union([
  event("task.queued", {}),
  event("task.running", {}),
  event("task.succeeded", {}),
  event("task.failed", { error: TaskError }),
  event("task.cancelled", {}),
  event("task.expired", {})
])
export type TaskEvent = typeof TaskEvent.Type
