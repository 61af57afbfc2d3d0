import type { Duration } from "effect"
import { Context, DateTime, Effect, Layer, Metric } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { TaskId, TaskState } from "../domain/inference/Task.ts"
import type { IllegalTaskMove, TaskMove } from "../domain/inference/TaskLifecycle.ts"
import { decideTask } from "../domain/inference/TaskLifecycle.ts"
import { TaskChanges } from "./TaskChanges.ts"
import { TaskEvents } from "./TaskEvents.ts"
import type { TaskRecord } from "./TaskRepository.ts"
import { TaskRepository } from "./TaskRepository.ts"
import { Transaction } from "./Transaction.ts"

const entered = Metric.counter("maas_tasks_total", {
  description: "Tasks by the state that they entered",
  incremental: true
})
export const countTask = (state: TaskState) => Metric.update(Metric.withAttributes(entered, { state }), 1)

/** Moves tasks through their life: each move is one change of a row and one event, in one transaction. */
export class TaskMoves extends Context.Service<TaskMoves, {
  /** Answers the task after the move; `undefined` for one that is gone. An illegal move changes nothing. */
  readonly move: (
    id: TaskId,
    move: TaskMove
  ) => Effect.Effect<TaskRecord | undefined, IllegalTaskMove | DependencyUnavailable>
}>()("maas/services/TaskMoves") {
  /** `keptFor`: how long a task that has ended is kept, with its result. */
  static readonly layer = ({ keptFor }: { readonly keptFor: Duration.Duration }) =>
    Layer.effect(
      TaskMoves,
      Effect.gen(function*() {
        const repository = yield* TaskRepository
        const events = yield* TaskEvents
        const changes = yield* TaskChanges
        const transaction = yield* Transaction

        const moveInTransaction = Effect.fnUntraced(
          function*(id: TaskId, move: TaskMove) {
            const task = yield* repository.lock(id)
            if (task === undefined) return undefined
            const at = yield* DateTime.now
            const progress = yield* Effect.fromResult(decideTask(task.progress, move, { at, keptFor }))
            yield* repository.update(id, progress, at)
            const moved: TaskRecord = { ...task, progress }
            yield* events.publish(moved, at)
            yield* changes.announce(id)
            return moved
          },
          transaction.run
        )

        return TaskMoves.of({
          move: Effect.fn("TaskMoves.move")(function*(id: TaskId, move: TaskMove) {
            const moved = yield* moveInTransaction(id, move)
            if (moved === undefined) return undefined
            const { model, progress: { state }, version } = moved
            yield* countTask(state)
            yield* Effect.logInfo("A task moved on").pipe(Effect.annotateLogs({ task: id, model, version, state }))
            return moved
          })
        })
      })
    )
}
