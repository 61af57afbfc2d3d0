/** Tasks and webhooks as the settings want them: taking tasks in, running them, telling of their end. */
import { Effect, Layer } from "effect"
import { TaskEvents } from "../../services/TaskEvents.ts"
import { TaskMoves } from "../../services/TaskMoves.ts"
import { TaskRunner } from "../../services/TaskRunner.ts"
import { Tasks } from "../../services/Tasks.ts"
import * as TasksConsumer from "../../services/TasksConsumer.ts"
import * as TaskUpkeep from "../../services/TaskUpkeep.ts"
import { WebhookDeliveries } from "../../services/WebhookDeliveries.ts"
import { Webhooks } from "../../services/Webhooks.ts"
import * as WebhooksConsumer from "../../services/WebhooksConsumer.ts"
import * as TaskChangesPg from "../postgres/TaskChangesPg.ts"
import * as TaskRepositoryPg from "../postgres/TaskRepositoryPg.ts"
import * as WebhookRepositoryPg from "../postgres/WebhookRepositoryPg.ts"
import { Settings } from "../settings/Settings.ts"
import * as WebhookSenderNode from "../webhooks/WebhookSenderNode.ts"

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

const deliveries = Layer.unwrap(
  Effect.map(
    Settings,
    ({ webhookAllowPrivate, webhookRetries }) =>
      WebhookDeliveries.layer({ mostAttempts: webhookRetries.length + 1 }).pipe(
        Layer.provide(WebhookSenderNode.layer({ allowPrivate: webhookAllowPrivate })),
        Layer.provide(TaskRepositoryPg.layer),
        Layer.provideMerge(WebhookRepositoryPg.layer)
      )
  )
)

/** Taking down where keys want to be told, and telling of what they were told. */
export const webhooks = Layer.unwrap(
  Effect.map(Settings, ({ webhookAllowPrivate }) => Webhooks.layer({ allowPrivate: webhookAllowPrivate }))
).pipe(Layer.provide(deliveries))

/** Telling them. */
export const telling = Layer.unwrap(
  Effect.map(Settings, ({ webhookRetries }) => WebhooksConsumer.layer({ retryDelays: webhookRetries }))
).pipe(Layer.provide(deliveries))
