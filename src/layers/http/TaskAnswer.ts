import { taskJson } from "../../domain/inference/Task.ts"
import type { TaskRecord } from "../../services/TaskRepository.ts"
import { summaryOf } from "../../services/TaskRepository.ts"

/** A task as callers see it, as JSON text; its outputs keep every digit. */
export const taskText = (task: TaskRecord): string =>
  taskJson(summaryOf(task), task.progress.state === "succeeded" ? task.progress.outputs : null)
