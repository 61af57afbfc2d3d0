import { Array, Duration, Effect, Layer } from "effect"
import type { TaskEvent } from "../domain/inference/TaskEvents.ts"
import { EventLog } from "../messaging/EventLog.ts"
import { HandlingFailed } from "../messaging/Handling.ts"
import { keepTrying } from "../messaging/KeepTrying.ts"
import * as SupervisedConsumer from "./SupervisedConsumer.ts"
import { decodeTaskEvent, inferenceTasksTopic } from "./TaskEvents.ts"
import type { PutOff } from "./TaskRunner.ts"
import { TaskRunner } from "./TaskRunner.ts"

export const inferenceTasksPartitions = 8

/** What is tried again is a model that is asked too much or left alone, or a server that is away. */
export const taskRetryDelays = [1, 2, 5, 10, 30, ...Array.makeBy(60, () => 60)].map((seconds) =>
  Duration.seconds(seconds)
)

export const tasksGroup = "tasks"

const code = (failure: PutOff): string => {
  switch (failure._tag) {
    case "ModelOverloaded":
      return "model_overloaded"
    case "ModelCircuitOpen":
      return "model_circuit_open"
    case "DependencyUnavailable":
      return `${failure.dependency}_unavailable`
  }
}

/** Runs the tasks that are queued, as many at once as `concurrency` says. */
export const layer = ({ concurrency }: { readonly concurrency: number }) =>
  Layer.effectDiscard(Effect.gen(function*() {
    const log = yield* EventLog
    const runner = yield* TaskRunner

    const handle = (event: TaskEvent): Effect.Effect<void, HandlingFailed> =>
      // One that was put off is tried again by this consumer's retries
      event.type === "task.queued" && event.data.attempt === 0
        ? Effect.mapError(
          runner.run(event.data.task),
          (failure) => new HandlingFailed({ code: code(failure), message: failure.message })
        )
        : Effect.void

    yield* log.ensureTopics([{ name: inferenceTasksTopic, partitions: inferenceTasksPartitions }]).pipe(
      keepTrying("Tasks wait for the event log")
    )
    yield* SupervisedConsumer.run("The consumer of tasks", {
      group: tasksGroup,
      topics: [inferenceTasksTopic],
      from: "earliest",
      decode: decodeTaskEvent,
      handle,
      retryDelays: taskRetryDelays,
      concurrency
    })
  }))
