/** Tasks as the settings want them: taking them in, running them, and cleaning up after them. */
import { Effect, Layer } from "effect"
import { TaskEvents } from "../../services/TaskEvents.ts"
import { TaskMoves } from "../../services/TaskMoves.ts"
import { TaskRunner } from "../../services/TaskRunner.ts"
import { Tasks } from "../../services/Tasks.ts"
import * as TasksConsumer from "../../services/TasksConsumer.ts"
import * as TaskUpkeep from "../../services/TaskUpkeep.ts"
import * as TaskChangesPg from "../postgres/TaskChangesPg.ts"
import * as TaskRepositoryPg from "../postgres/TaskRepositoryPg.ts"
import { Settings } from "../settings/Settings.ts"

const moves = Layer.unwrap(Effect.map(Settings, ({ taskRetention }) => TaskMoves.layer({ keptFor: taskRetention })))
  .pipe(
    Layer.provideMerge(TaskEvents.layer),
    Layer.provideMerge(Layer.merge(TaskRepositoryPg.layer, TaskChangesPg.layer))
  )

/** Taking tasks in, and telling of them. */
export const tasks = Layer.unwrap(
  Effect.map(Settings, ({ taskDeadline, tasksPerKey }) => Tasks.layer({ deadline: taskDeadline, perKey: tasksPerKey }))
).pipe(Layer.provideMerge(moves))

/** Running them. */
export const processing = Layer.unwrap(
  Effect.map(Settings, ({ taskConcurrency }) => TasksConsumer.layer({ concurrency: taskConcurrency }))
).pipe(
  Layer.provide(TaskRunner.layer),
  Layer.merge(TaskUpkeep.layer),
  Layer.provide(moves)
)
