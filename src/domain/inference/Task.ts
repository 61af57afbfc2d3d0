import { Schema } from "effect"
import { VersionNumber } from "../model/Version.ts"

export const TaskId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("TaskId"))
export type TaskId = typeof TaskId.Type

export const TaskState = Schema.Literals(["queued", "running", "succeeded", "failed", "cancelled", "expired"])
export type TaskState = typeof TaskState.Type

/** One asynchronous inference. */
export class Task extends Schema.Class<Task>("maas/domain/Task")({
  id: TaskId,
  model: Schema.String,
  version: VersionNumber,
  state: TaskState,
  result: Schema.NullOr(Schema.Unknown),
  error: Schema.NullOr(Schema.Struct({ code: Schema.String, message: Schema.String })),
  createdAt: Schema.DateTimeUtcFromString,
  startedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  expiresAt: Schema.DateTimeUtcFromString
}) {}
