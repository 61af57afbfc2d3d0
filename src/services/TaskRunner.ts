import { Context, Effect, Layer, Result, Schedule } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { ModelCircuitOpen, ModelOverloaded } from "../domain/inference/InferenceErrors.ts"
import { outputsJson } from "../domain/inference/OutputsJson.ts"
import type { TaskId } from "../domain/inference/Task.ts"
import type { TaskMove } from "../domain/inference/TaskLifecycle.ts"
import type { Tensor } from "../domain/inference/Tensor.ts"
import { Deployments } from "./Deployments.ts"
import { Inference } from "./Inference.ts"
import { TaskChanges } from "./TaskChanges.ts"
import { TaskMoves } from "./TaskMoves.ts"
import type { TaskRecord } from "./TaskRepository.ts"
import { TaskRepository } from "./TaskRepository.ts"

/** The task was given back, and is to be run again later. */
export type PutOff = ModelOverloaded | ModelCircuitOpen | DependencyUnavailable

/** How often a task that is running is looked at, for an end whose announcement was lost. */
const lookAgainAfter = "10 seconds"

/** What a run brought is not thrown away for a short outage of the database. */
const settleAgain = Schedule.max([Schedule.spaced("500 millis"), Schedule.recurs(10)])

/** A result is kept whole or not at all. In characters of JSON. */
const largestResult = 16 * 1024 * 1024

/** Runs tasks: one take-up at a time counts, and the first end of a task is its only one. */
export class TaskRunner extends Context.Service<TaskRunner, {
  /**
   * Takes the task up, lets its model answer and ends it. Safe to repeat: a task that has ended, or is gone, is left
   * alone. Interrupted, it gives the task back.
   */
  readonly run: (id: TaskId) => Effect.Effect<void, PutOff>
}>()("maas/services/TaskRunner") {
  static readonly layer = Layer.effect(
    TaskRunner,
    Effect.gen(function*() {
      const inference = yield* Inference
      const deployments = yield* Deployments
      const repository = yield* TaskRepository
      const moves = yield* TaskMoves
      const changes = yield* TaskChanges

      /** A task that was moved by somebody else meanwhile is theirs. */
      const settle = (id: TaskId, move: TaskMove) =>
        moves.move(id, move).pipe(
          Effect.catchTag("IllegalTaskMove", ({ move, state }) =>
            Effect.logInfo("A task was moved by somebody else while it ran").pipe(
              Effect.annotateLogs({ task: id, state, move })
            )),
          Effect.retry(settleAgain),
          Effect.asVoid
        )

      /** Succeeds once this take-up of the task is no longer the one that counts. */
      const superseded = (id: TaskId, attempt: number) =>
        Effect.scoped(Effect.flatMap(changes.latch(id), (moved) =>
          Effect.gen(function*() {
            moved.closeUnsafe()
            const task = yield* repository.find(id, undefined)
            if (task?.progress.state !== "running" || task.progress.attempt !== attempt) return true
            yield* Effect.timeoutOption(moved.await, lookAgainAfter)
            return false
          }).pipe(
            Effect.retry(Schedule.spaced("1 second")),
            Effect.repeat({ until: (isOver) => isOver })
          )))

      const answer = Effect.fnUntraced(function*({ modelId, version }: TaskRecord, tensors: ReadonlyArray<Tensor>) {
        const deployment = yield* deployments.resolve(modelId, { _tag: "number", version })
        return yield* inference.run({ deployment, tensors })
      })

      const work = Effect.fn("run_task")(function*(task: TaskRecord, attempt: number) {
        const { id } = task
        const tensors = yield* repository.inputs(id)
        // Whoever ended it has freed them
        if (tensors === undefined) return
        const answered = yield* Effect.result(answer(task, tensors)).pipe(
          Effect.raceFirst(Effect.as(superseded(id, attempt), undefined)),
          Effect.onInterrupt(() => Effect.ignore(settle(id, { _tag: "putOff", attempt })))
        )
        if (answered === undefined) return
        if (Result.isSuccess(answered)) {
          const outputs = outputsJson(answered.success)
          return yield* settle(
            id,
            outputs.length > largestResult
              ? failed(attempt, "result_too_large", {
                message: `The result is JSON of ${outputs.length} characters; at most ${largestResult} are kept`
              })
              : { _tag: "succeed", attempt, outputs }
          )
        }
        const { failure } = answered
        switch (failure._tag) {
          case "ModelOverloaded":
          case "ModelCircuitOpen":
          case "DependencyUnavailable":
            yield* settle(id, { _tag: "putOff", attempt })
            return yield* failure
          case "InferenceTimeout":
            return yield* settle(id, failed(attempt, "inference_timeout", failure))
          case "ModelCrashed":
            return yield* settle(id, failed(attempt, "model_crashed", failure))
          case "VersionNotReady":
            return yield* settle(id, failed(attempt, "version_not_ready", failure))
          case "ModelNotFound":
            return yield* settle(id, failed(attempt, "model_not_found", failure))
          case "VersionNotFound":
            return yield* settle(id, failed(attempt, "version_not_found", failure))
          case "AliasNotFound":
          case "NoVersionReady":
            return yield* Effect.die(failure)
        }
      })

      const run = Effect.fn("TaskRunner.run")(function*(id: TaskId) {
        const task = yield* moves.move(id, { _tag: "start" }).pipe(
          // It has ended
          Effect.catchTag("IllegalTaskMove", () => Effect.undefined)
        )
        if (task?.progress.state === "running") yield* work(task, task.progress.attempt)
      })

      return TaskRunner.of({ run })
    })
  )
}

/** Text that a model had a part in may hold what a database can't. */
const failed = (attempt: number, code: string, { message }: { readonly message: string }): TaskMove => ({
  _tag: "fail",
  attempt,
  error: { code, message: message.replaceAll("\0", "").toWellFormed() }
})
