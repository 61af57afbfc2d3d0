import { Context, DateTime, Duration, Effect, Layer, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import type { ApiKeyId } from "../domain/access/ApiKey.ts"
import type { Principal } from "../domain/access/Principal.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { StatedTensor } from "../domain/inference/SignatureCheck.ts"
import type { TaskState, TaskSummary } from "../domain/inference/Task.ts"
import { TaskId } from "../domain/inference/Task.ts"
import { TaskEnded, TaskNotFound, TooManyTasks } from "../domain/inference/TaskErrors.ts"
import { isEnded } from "../domain/inference/TaskLifecycle.ts"
import type { VersionChoice } from "./Deployments.ts"
import type { NotPrepared } from "./Inference.ts"
import { Inference } from "./Inference.ts"
import type { ModelRef } from "./ModelRepository.ts"
import { TaskChanges } from "./TaskChanges.ts"
import { TaskEvents } from "./TaskEvents.ts"
import { countTask, TaskMoves } from "./TaskMoves.ts"
import type { TaskHistoryEntry, TaskRecord } from "./TaskRepository.ts"
import { TaskRepository } from "./TaskRepository.ts"
import { Transaction } from "./Transaction.ts"

export interface TasksOptions {
  /** The longest that a task may take until it ends. */
  readonly deadline: Duration.Duration
  /** The most tasks of a key that have not ended. */
  readonly perKey: number
}

/** A change whose announcement was lost is seen after this long at the latest. */
const lookAgainAfter = Duration.seconds(10)

/** When to try again, for a key that has too many tasks. */
const tooManySeconds = 5

/** Takes in inferences that are answered later, and lets their callers follow, fetch and cancel them. */
export class Tasks extends Context.Service<Tasks, {
  /** Checks everything that the synchronous way checks; what is accepted is run, unless its time is over before. */
  readonly submit: (
    caller: Principal,
    request: {
      readonly ref: ModelRef
      readonly choice: VersionChoice
      readonly inputs: ReadonlyArray<StatedTensor>
      /** How long it may take until it ends; cut to the longest that is allowed. */
      readonly lifetime: Duration.Duration | undefined
    }
  ) => Effect.Effect<TaskRecord, NotPrepared | TooManyTasks>
  /** A key sees its own tasks, an admin's key every one. */
  readonly get: (viewer: Principal, id: TaskId) => Effect.Effect<TaskRecord, TaskNotFound | DependencyUnavailable>
  /** As `get`, but not before the task has ended or `patience` has passed. */
  readonly await: (
    viewer: Principal,
    id: TaskId,
    patience: Duration.Duration
  ) => Effect.Effect<TaskRecord, TaskNotFound | DependencyUnavailable>
  /** Newest first. */
  readonly list: (
    viewer: Principal,
    state: TaskState | undefined,
    page: { readonly before: TaskId | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<TaskSummary>, DependencyUnavailable>
  /** Cancelling a task that is cancelled changes nothing. */
  readonly cancel: (
    viewer: Principal,
    id: TaskId
  ) => Effect.Effect<TaskRecord, TaskNotFound | TaskEnded | DependencyUnavailable>
  /** The states that the task enters, from after `after` on, until it has ended. */
  readonly follow: (task: TaskRecord, after: bigint) => Stream.Stream<TaskHistoryEntry, DependencyUnavailable>
}>()("maas/services/Tasks") {
  static readonly layer = ({ deadline, perKey }: TasksOptions) =>
    Layer.effect(
      Tasks,
      Effect.gen(function*() {
        const inference = yield* Inference
        const repository = yield* TaskRepository
        const moves = yield* TaskMoves
        const events = yield* TaskEvents
        const changes = yield* TaskChanges
        const transaction = yield* Transaction
        const random = yield* SecureRandom.SecureRandom

        const visibleTo = (viewer: Principal): ApiKeyId | undefined => viewer.may("admin") ? undefined : viewer.keyId

        const submit: Tasks["Service"]["submit"] = Effect.fn("Tasks.submit")(
          function*(caller, { ref, choice, inputs, lifetime }) {
            const { deployment: { modelId, model, version }, tensors } = yield* inference.prepare(ref, choice, inputs)
            const createdAt = yield* DateTime.now
            const task: TaskRecord = {
              id: TaskId.make(yield* random.uuidV7()),
              key: caller.keyId,
              modelId,
              model,
              version,
              createdAt,
              progress: {
                state: "queued",
                attempt: 0,
                lost: 0,
                expiresAt: DateTime.addDuration(createdAt, Duration.min(lifetime ?? deadline, deadline))
              }
            }
            yield* transaction.run(Effect.gen(function*() {
              const added = yield* repository.insert(task, tensors, perKey)
              if (!added) return yield* new TooManyTasks({ limit: perKey, retryAfterSeconds: tooManySeconds })
              yield* events.publish(task, createdAt)
            }))
            yield* countTask("queued")
            return task
          }
        )

        const get = Effect.fn("Tasks.get")(function*(viewer: Principal, id: TaskId) {
          return (yield* repository.find(id, visibleTo(viewer))) ?? (yield* new TaskNotFound({ id }))
        })

        const awaitEnd = Effect.fn("Tasks.await")(
          function*(viewer: Principal, id: TaskId, patience: Duration.Duration) {
            const moved = yield* changes.latch(id)
            const look = Effect.suspend(() => {
              moved.closeUnsafe()
              return get(viewer, id)
            })
            yield* look.pipe(
              Effect.tap(({ progress }) =>
                isEnded(progress) ? Effect.void : Effect.timeoutOption(moved.await, lookAgainAfter)
              ),
              Effect.repeat({ until: ({ progress }) => isEnded(progress) }),
              Effect.timeoutOption(patience)
            )
            return yield* get(viewer, id)
          },
          Effect.scoped
        )

        const cancel = Effect.fn("Tasks.cancel")(function*(viewer: Principal, id: TaskId) {
          // Whose task it is
          yield* get(viewer, id)
          const cancelled = yield* moves.move(id, { _tag: "cancel" }).pipe(
            Effect.catchTag("IllegalTaskMove", Effect.succeed)
          )
          if (cancelled === undefined) return yield* new TaskNotFound({ id })
          if (!("_tag" in cancelled)) return cancelled
          const { state } = cancelled
          return yield* state === "cancelled" ? get(viewer, id) : new TaskEnded({ id, state })
        })

        const follow = ({ id }: TaskRecord, after: bigint): Stream.Stream<TaskHistoryEntry, DependencyUnavailable> =>
          Stream.unwrap(Effect.map(changes.latch(id), (moved) => {
            let last = after
            const news = Effect.gen(function*() {
              moved.closeUnsafe()
              // In this order: the history of a task that has ended gets no more entries
              const task = yield* repository.find(id, undefined)
              const entries = yield* repository.history(id, last)
              last = entries.at(-1)?.seq ?? last
              const isOver = entries.length === 0 && (task === undefined || isEnded(task.progress))
              if (entries.length === 0 && !isOver) yield* Effect.timeoutOption(moved.await, lookAgainAfter)
              return { entries, isOver }
            })
            return Stream.fromEffectRepeat(news).pipe(
              Stream.takeUntil(({ isOver }) => isOver),
              Stream.flatMap(({ entries }) => Stream.fromIterable(entries))
            )
          }))

        return Tasks.of({
          submit,
          get,
          await: awaitEnd,
          list: (viewer, state, page) => repository.list({ key: visibleTo(viewer), state }, page),
          cancel,
          follow
        })
      })
    )
}
