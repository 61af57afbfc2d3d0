import type { DateTime, Effect } from "effect"
import { Context } from "effect"
import type { ApiKeyId } from "../domain/access/ApiKey.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { TaskError, TaskId, TaskState, TaskSummary } from "../domain/inference/Task.ts"
import type { TaskProgress } from "../domain/inference/TaskLifecycle.ts"
import type { Tensor } from "../domain/inference/Tensor.ts"
import type { ModelId } from "../domain/model/Model.ts"
import type { VersionNumber } from "../domain/model/Version.ts"

/** What never changes of a task. */
export interface TaskOrigin {
  readonly id: TaskId
  readonly key: ApiKeyId
  readonly modelId: ModelId
  readonly model: string
  readonly version: VersionNumber
  readonly createdAt: DateTime.Utc
}

export interface TaskRecord extends TaskOrigin {
  readonly progress: TaskProgress
}

export interface TaskHistoryEntry {
  /** Grows along a task. */
  readonly seq: bigint
  readonly state: TaskState
  readonly error: TaskError | null
  readonly at: DateTime.Utc
}

/** Where tasks are kept, with what they run on and what came out. */
export class TaskRepository extends Context.Service<TaskRepository, {
  /** Adds a task unless its key has `limit` tasks already that have not ended; tells whether it did. */
  readonly insert: (
    task: TaskRecord,
    inputs: ReadonlyArray<Tensor>,
    limit: number
  ) => Effect.Effect<boolean, DependencyUnavailable>
  /** `key` where given is whose task it must be. */
  readonly find: (
    id: TaskId,
    key: ApiKeyId | undefined
  ) => Effect.Effect<TaskRecord | undefined, DependencyUnavailable>
  /** Inside a transaction: as `find`, and nobody else moves it until the transaction ends. */
  readonly lock: (id: TaskId) => Effect.Effect<TaskRecord | undefined, DependencyUnavailable>
  /** Of a task that has not ended; none once it has. */
  readonly inputs: (id: TaskId) => Effect.Effect<ReadonlyArray<Tensor> | undefined, DependencyUnavailable>
  /** Inside the transaction that locked it. Notes the state in the history; the end frees the inputs. */
  readonly update: (id: TaskId, progress: TaskProgress, at: DateTime.Utc) => Effect.Effect<void, DependencyUnavailable>
  /** Newest first. */
  readonly list: (
    filter: { readonly key: ApiKeyId | undefined; readonly state: TaskState | undefined },
    page: { readonly before: TaskId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<TaskSummary>, DependencyUnavailable>
  /** The states that it entered, after `after`, the oldest first; at most a hundred. */
  readonly history: (
    id: TaskId,
    after: bigint
  ) => Effect.Effect<ReadonlyArray<TaskHistoryEntry>, DependencyUnavailable>
  /** Tasks whose time is over and that have not ended, the longest overdue first. */
  readonly overdue: (at: DateTime.Utc, limit: number) => Effect.Effect<ReadonlyArray<TaskId>, DependencyUnavailable>
  /** Removes tasks that ended and were kept for their time; answers how many. */
  readonly forget: (at: DateTime.Utc, limit: number) => Effect.Effect<number, DependencyUnavailable>
}>()("maas/services/TaskRepository") {}

export const summaryOf = ({ id, model, version, createdAt, progress }: TaskRecord): TaskSummary => ({
  id,
  model,
  version,
  state: progress.state,
  error: progress.state === "failed" ? progress.error : null,
  createdAt,
  startedAt: "startedAt" in progress ? progress.startedAt : null,
  endedAt: "endedAt" in progress ? progress.endedAt : null,
  expiresAt: progress.expiresAt
})
