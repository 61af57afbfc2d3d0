import type { Effect, Latch, Scope } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { TaskId } from "../domain/inference/Task.ts"

/** Tells every process that a task was moved, without saying how: those who care read it again. */
export class TaskChanges extends Context.Service<TaskChanges, {
  /** Inside a transaction: told when it commits, never when it does not. */
  readonly announce: (id: TaskId) => Effect.Effect<void, DependencyUnavailable>
  /**
   * A latch that opens whenever the task may have been moved. Close it, look, and wait only if there was nothing: then
   * nothing is overlooked.
   */
  readonly latch: (id: TaskId) => Effect.Effect<Latch.Latch, never, Scope.Scope>
}>()("maas/services/TaskChanges") {}
