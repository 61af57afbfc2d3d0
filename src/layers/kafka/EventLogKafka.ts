/**
 * The event log on Apache Kafka, 3.3 or newer.
 *
 * Of kafkajs this uses the wire protocol and the connections, not the producer and the consumer that it builds on them,
 * for those can't keep the port's contract: the producer loses acknowledged records when an acknowledgement is lost and
 * sends overlap, the consumer joins a new generation of its group without waiting for what is in flight, and one slow
 * partition keeps it from fetching the others.
 */
import { Duration, Effect, Layer } from "effect"
import { EventLog } from "../../messaging/EventLog.ts"
import * as GroupMember from "../../messaging/GroupMember.ts"
import * as GroupRequests from "./GroupRequests.ts"
import * as KafkaClient from "./KafkaClient.ts"
import * as KafkaExcerpt from "./KafkaExcerpt.ts"
import * as KafkaFetcher from "./KafkaFetcher.ts"
import * as KafkaGroup from "./KafkaGroup.ts"
import * as KafkaOffsets from "./KafkaOffsets.ts"
import * as KafkaProducer from "./KafkaProducer.ts"
import * as KafkaTopics from "./KafkaTopics.ts"
import * as ProduceRequests from "./ProduceRequests.ts"

export interface EventLogKafkaOptions
  extends KafkaClient.KafkaClientOptions, KafkaTopics.TopicOptions, KafkaProducer.ProducerOptions
{
  /** How long a member of a group may fall silent before its partitions go to others. Default 10 seconds. */
  readonly sessionTimeout?: Duration.Input | undefined
  /** How often members show that they are alive, and hear of changes of their group. Default 1 second. */
  readonly heartbeatInterval?: Duration.Input | undefined
}

export const layer = (options: EventLogKafkaOptions) =>
  Layer.effect(
    EventLog,
    Effect.gen(function*() {
      // Brokers answer the requests of a connection in turn: what may take long has clients of its own.
      const newClient = KafkaClient.make(options)
      const client = yield* newClient
      const topics = KafkaTopics.make(client, options)
      const offsets = KafkaOffsets.make(client)
      const read = KafkaExcerpt.make(client, offsets)
      const group = {
        sessionTimeout: Duration.fromInputUnsafe(options.sessionTimeout ?? "10 seconds"),
        heartbeatInterval: Duration.fromInputUnsafe(options.heartbeatInterval ?? "1 second")
      }

      const subscribe: EventLog["Service"]["subscribe"] = Effect.fnUntraced(function*(subscription, onAssigned) {
        yield* Effect.forEach(subscription.topics, topics.findWhenAvailable, { discard: true })
        const fetcher = yield* KafkaFetcher.make(yield* newClient, offsets, subscription)
        const requests = GroupRequests.make(yield* newClient, client, subscription, group.sessionTimeout)
        return yield* GroupMember.run(
          KafkaGroup.coordinator(requests, offsets, fetcher, subscription, group),
          onAssigned
        )
      }, Effect.scoped)

      return EventLog.of({
        ensureTopics: topics.ensure,
        publish: yield* KafkaProducer.make(
          ProduceRequests.make(yield* newClient, options.compression ?? "none"),
          topics,
          options
        ),
        subscribe,
        read: (excerpt) => Effect.andThen(topics.find(excerpt.topic), KafkaTopics.unavailable("read")(read(excerpt))),
        ranges: (topic) => Effect.andThen(topics.find(topic), KafkaTopics.unavailable("ranges")(offsets.ranges(topic))),
        lag: (group) => KafkaTopics.unavailable("lag")(offsets.lag(group))
      })
    })
  )
