import { Schema } from "effect"
import { VersionNumber } from "../model/Version.ts"

export const TaskId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("TaskId"))
export type TaskId = typeof TaskId.Type

export const TaskState = Schema.Literals(["queued", "running", "succeeded", "failed", "cancelled", "expired"])
export type TaskState = typeof TaskState.Type

/** Why a task failed: a stable `code`, and what to say about it. */
export const TaskError = Schema.Struct({ code: Schema.String, message: Schema.String })
export type TaskError = typeof TaskError.Type

/** What is told of a task, but for its result. */
export const taskFields = {
  id: TaskId,
  model: Schema.String,
  version: VersionNumber,
  state: TaskState,
  error: Schema.NullOr(TaskError),
  createdAt: Schema.DateTimeUtcFromString,
  startedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  /** Until it ends, by when it must have; from then on, when it is forgotten together with its result. */
  expiresAt: Schema.DateTimeUtcFromString
}

/** A task as lists show it: without its result, which may be large. */
export const TaskSummary = Schema.Struct(taskFields).annotate({ identifier: "TaskSummary" })
export type TaskSummary = typeof TaskSummary.Type

const encodeSummary = Schema.encodeSync(TaskSummary)

/**
 * The JSON text of a task with its outputs, themselves JSON text: numbers in them may have more digits than a number of
 * this language.
 */
export const taskJson = (task: TaskSummary, outputs: string | null): string => {
  const text = JSON.stringify(encodeSummary(task))
  const result = outputs === null
    ? "null"
    : `{"model":${JSON.stringify(task.model)},"version":${task.version},"outputs":${outputs}}`
  return `${text.slice(0, -1)},"result":${result}}`
}
