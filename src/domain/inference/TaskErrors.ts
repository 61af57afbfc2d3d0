import { Schema } from "effect"
import { TaskId, TaskState } from "./Task.ts"

/** There is no such task, or it is another key's: which of these is not said. */
export class TaskNotFound extends Schema.TaggedError<TaskNotFound>()("TaskNotFound", { id: TaskId }) {
  override get message() {
    return `There is no task '${this.id}'; tasks that have ended are kept until their expiresAt`
  }
}

/** The task has ended, so there is nothing to cancel. */
export class TaskEnded extends Schema.TaggedError<TaskEnded>()("TaskEnded", { id: TaskId, state: TaskState }) {
  override get message() {
    return `The task '${this.id}' has ended: it is ${this.state}`
  }
}

/** The key has as many unfinished tasks as it may; `retryAfterSeconds` is when to try again. */
export class TooManyTasks extends Schema.TaggedError<TooManyTasks>()("TooManyTasks", {
  limit: Schema.Int,
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `${this.limit} tasks of this key have not ended yet (MAAS_TASKS_PER_KEY): try again in ${this.retryAfterSeconds} s`
  }
}
