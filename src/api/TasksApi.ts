import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TaskError, TaskId, TaskState, TaskSummary } from "../domain/inference/Task.ts"
import { VersionNumber } from "../domain/model/Version.ts"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { TaskView } from "./InferenceApi.ts"
import { lastEventId, page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { RateLimits } from "./RateLimits.ts"

const taskPath = { task: TaskId }

/** One step of a task's way. */
export const TaskProgressEvent = Schema.Struct({
  id: TaskId,
  model: Schema.String,
  version: VersionNumber,
  state: TaskState,
  error: Schema.NullOr(TaskError),
  at: Schema.DateTimeUtcFromString
}).annotate({ identifier: "TaskProgress" })

const list = HttpApiEndpoint.get("list", "/", {
  query: { ...page(TaskId), state: Schema.optionalKey(TaskState) },
  success: pageOf(TaskSummary)
}).annotate(RequiredScope, "inference").annotate(
  OpenApi.Description,
  "The key's tasks, the newest first, without their results; an admin's key sees every one."
)

const get = HttpApiEndpoint.get("get", "/:task", { params: taskPath, success: TaskView, error: Problems.taskNotFound })
  .annotate(RequiredScope, "inference")

const cancel = HttpApiEndpoint.delete("cancel", "/:task", {
  params: taskPath,
  success: TaskView,
  error: [Problems.taskNotFound, Problems.taskEnded]
}).annotate(RequiredScope, "inference").annotate(
  OpenApi.Description,
  "Cancels the task, whether it waits or runs. Cancelling again changes nothing; a task that ended otherwise is a conflict."
)

const events = HttpApiEndpoint.get("events", "/:task/events", {
  params: taskPath,
  headers: lastEventId,
  success: HttpApiSchema.StreamSse({ data: TaskProgressEvent }),
  error: Problems.taskNotFound
}).annotate(RequiredScope, "inference").annotate(
  OpenApi.Description,
  "Server-Sent Events: each state that the task enters, from the first or from after Last-Event-ID, until it has ended."
)

export class TasksApi extends HttpApiGroup.make("tasks")
  .add(list, get, cancel, events)
  .prefix("/api/v1/inference/tasks")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
