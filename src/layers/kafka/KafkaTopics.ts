import { Duration, Effect, Schedule } from "effect"
import { EventLogUnavailable, UnknownTopic } from "../../messaging/EventLog.ts"
import type { Topic } from "../../messaging/EventLog.ts"
import { keepTrying } from "../../messaging/KeepTrying.ts"
import type { KafkaClient } from "./KafkaClient.ts"
import { KafkaFailure, ofCode } from "./KafkaFailure.ts"

/** What the port calls unavailable: Kafka could not be reached, or would not, for a reason of its own. */
export const unavailable = (operation: string) =>
  Effect.mapError((cause: KafkaFailure) => new EventLogUnavailable({ operation, cause }))

export interface TopicOptions {
  /** Copies of each partition of a new topic; the cluster's own default when it is not set. */
  readonly replication?: number | undefined
  /** Partitions of a new topic, in place of those that its owner asks for where that is more than one. */
  readonly partitions?: number | undefined
}

export interface KafkaTopics {
  readonly ensure: (topics: ReadonlyArray<Topic>) => Effect.Effect<void, EventLogUnavailable>
  /** How many partitions the topic has. */
  readonly find: (topic: string) => Effect.Effect<number, EventLogUnavailable | UnknownTopic>
  /** As `find`, but waits while Kafka is away. */
  readonly findWhenAvailable: (topic: string) => Effect.Effect<number, UnknownTopic>
}

const isUnknown = ({ code }: KafkaFailure): boolean =>
  code === "UNKNOWN_TOPIC_OR_PARTITION" || code === "INVALID_TOPIC_EXCEPTION"

const createTimeout = Duration.seconds(10)
/** Brokers learn of a new topic a little later than it is created. */
const soon = Schedule.spaced("50 millis")

/** Topics never change once they exist, so what was found is remembered. */
export const make = (client: KafkaClient, options: TopicOptions): KafkaTopics => {
  const known = new Map<string, number>()

  const lookUp = (topic: string) =>
    Effect.tap(
      Effect.map(client.leaders(topic), (leaders) => leaders.length),
      (partitions) => Effect.sync(() => known.set(topic, partitions))
    )

  const create = Effect.fnUntraced(function*({ isExact, name, partitions }: Topic) {
    const { topicErrors } = yield* client.askAny("CreateTopics", {
      topics: [{
        topic: name,
        numPartitions: partitions > 1 && isExact !== true ? options.partitions ?? partitions : partitions,
        replicationFactor: options.replication ?? -1,
        // A record's time is then the log's, as the port has it, and not its publisher's.
        configEntries: [{ name: "message.timestamp.type", value: "LogAppendTime" }]
      }],
      timeout: Duration.toMillis(createTimeout)
    })
    for (const { errorCode, errorMessage } of topicErrors) {
      const failure = ofCode(errorCode)
      // Somebody else was faster.
      if (failure === undefined || failure.code === "TOPIC_ALREADY_EXISTS") continue
      return yield* new KafkaFailure({ code: failure.code, cause: errorMessage ?? failure.cause })
    }
  })

  const ensureOne = (topic: Topic) =>
    lookUp(topic.name).pipe(
      Effect.catchIf(isUnknown, () =>
        Effect.andThen(
          create(topic),
          lookUp(topic.name).pipe(
            Effect.retry({ while: isUnknown, schedule: soon }),
            Effect.timeoutOrElse({
              duration: createTimeout,
              orElse: () => new KafkaFailure({ code: "LEADER_NOT_AVAILABLE", cause: `${topic.name} is still unknown` })
            })
          )
        ))
    )

  const findOnce = (topic: string) =>
    Effect.suspend(() => {
      const partitions = known.get(topic)
      if (partitions !== undefined) return Effect.succeed(partitions)
      return lookUp(topic)
    }).pipe(
      Effect.mapError((failure) =>
        isUnknown(failure)
          ? new UnknownTopic({ topic })
          : new EventLogUnavailable({ operation: "find", cause: failure })
      )
    )

  return {
    ensure: (topics) => unavailable("ensureTopics")(Effect.forEach(topics, ensureOne, { discard: true })),
    find: findOnce,
    findWhenAvailable: (topic) =>
      findOnce(topic).pipe(
        Effect.asSome,
        Effect.catchTag("UnknownTopic", () => Effect.succeedNone),
        keepTrying("A consumer group waits for the event log"),
        Effect.flatMap(Effect.fromOption),
        Effect.mapError(() => new UnknownTopic({ topic }))
      )
  }
}
