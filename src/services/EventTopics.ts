/** The platform's topics and who consumes them: what operators see and figures count. */
import { Effect } from "effect"
import { recorderGroup } from "../messaging/DeadLetterRecorder.ts"
import { DeadLetters } from "../messaging/DeadLetters.ts"
import type { EventLogUnavailable, PartitionLag } from "../messaging/EventLog.ts"
import { EventLog } from "../messaging/EventLog.ts"
import { pipelineGroup } from "./ModelEventsConsumer.ts"
import { modelEventsTopic } from "./ModelEventsOutbox.ts"
import { inferenceTasksTopic } from "./TaskEvents.ts"
import { tasksGroup } from "./TasksConsumer.ts"
import { webhookDeliveriesTopic } from "./WebhookDeliveries.ts"
import { deliveriesGroup, webhooksGroup } from "./WebhooksConsumer.ts"

export const eventTopics: ReadonlyArray<string> = [
  inferenceTasksTopic,
  modelEventsTopic,
  webhookDeliveriesTopic
]

/** The groups, the recorder of dead letters among them. */
export const consumerGroups: ReadonlyArray<string> = [
  pipelineGroup,
  tasksGroup,
  webhooksGroup,
  deliveriesGroup,
  recorderGroup
]

export interface TopicState {
  readonly topic: string
  readonly partitions: number
  readonly records: number
  readonly groups: ReadonlyArray<{
    readonly group: string
    readonly lag: number
    readonly partitions: ReadonlyArray<PartitionLag>
  }>
  readonly deadLetters: number
}

export const lags: Effect.Effect<
  ReadonlyArray<PartitionLag & { readonly group: string }>,
  EventLogUnavailable,
  EventLog
> = Effect.gen(function*() {
  const log = yield* EventLog
  const found = yield* Effect.forEach(
    consumerGroups,
    (group) => Effect.map(log.lag(group), (partitions) => partitions.map((partition) => ({ ...partition, group })))
  )
  return found.flat()
})

/** Each topic that a group has been at, with the topics of its retries and dead letters, by name. */
export const topicStates = Effect.gen(function*() {
  const log = yield* EventLog
  const book = yield* DeadLetters
  const all = yield* lags
  const waiting = yield* book.waiting
  const names = [...new Set([...eventTopics, ...all.map(({ topic }) => topic)])].toSorted()
  const states = yield* Effect.forEach(names, (topic) =>
    log.ranges(topic).pipe(
      Effect.map((ranges): ReadonlyArray<TopicState> => [{
        topic,
        partitions: ranges.length,
        records: ranges.reduce((sum, { end, start }) => sum + end - start, 0),
        groups: [...Map.groupBy(all.filter((one) => one.topic === topic), ({ group }) => group)].map(
          ([group, partitions]) => ({
            group,
            lag: partitions.reduce((sum, { lag }) => sum + lag, 0),
            partitions
          })
        ),
        deadLetters: waiting.reduce((sum, one) => one.topic === topic ? sum + one.count : sum, 0)
      }]),
      // Nobody has published to it yet
      Effect.catchTag("UnknownTopic", () => Effect.succeed([]))
    ))
  return states.flat()
})
