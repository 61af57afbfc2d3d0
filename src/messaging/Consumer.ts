/**
 * Handles the records of some topics as one member of a group: side by side across keys, in order along each key.
 *
 * **Retries.** A message whose handling fails goes to a retry topic, `<topic>.retry-N`, where it waits for its delay, and
 * its partition goes on. When its attempts are used up it goes to `<topic>.dlq`, once, and its key goes on: one message
 * that can't be handled must not stop all that happens to its key afterwards. An offset is committed once everything
 * before it is done, where done means handled, put into a retry topic, or dead-lettered.
 *
 * **Order.** While a message is in a retry topic, later ones of its key follow it there and wait behind it. That must hold
 * when the consumer restarts and when the partition changes hands, so it has to be remembered somewhere durable. Choices
 * were a table beside the inbox, a compacted topic of held keys, and the retry topics themselves. The first two are a
 * second truth that can disagree with where the messages are. So the retry topics are the memory: they have as many
 * partitions as their topic and come along with each (`AssignedPartition.companions`), hence the owner of a partition is
 * the only one who moves its messages; and what it has to know of them, keys and offsets, it reads when it takes over. The
 * price is that read: it is as long as what is being retried, which is bounded.
 *
 * **Copies.** A message is written to its next place before its offset is committed in the last, so a crash leaves two
 * copies. Each carries how often the message has been moved, and the older one is passed over. Dead letters are companions
 * too, and are remembered until no copy of theirs can come again: so there is one for each message that fails for good. What
 * was handled is delivered again when its offset was not committed: a handler whose effect must happen once uses an `Inbox`.
 *
 * Memory is bounded per partition: by bytes of records that are taken and not done, and by the number of messages that
 * are in retry topics. Beyond that those that would go there wait, and with them, in the end, the partition.
 */
import { Context, Duration, Effect, Latch, Predicate, Schema } from "effect"
import * as ConsumerMetrics from "./ConsumerMetrics.ts"
import { deadLetterTopic } from "./DeadLetter.ts"
import type { LogRecord, Subscription, UnknownTopic } from "./EventLog.ts"
import { EventLog } from "./EventLog.ts"
import { keepTrying } from "./KeepTrying.ts"
import * as PartitionConsumer from "./PartitionConsumer.ts"
import * as RetryTopics from "./RetryTopics.ts"
import type { Refusal } from "./Settlement.ts"
import { Slots } from "./Slots.ts"

export interface ConsumerOptions<A, R, R2> extends Subscription {
  /** What it refuses goes to the dead letters at once. A defect counts as `HandlingFailed`. */
  readonly decode: (record: LogRecord) => Effect.Effect<A, Refusal, R>
  /** A defect counts as `HandlingFailed`. One that never ends holds a slot and its key for ever: limit its time. */
  readonly handle: (message: A, record: LogRecord) => Effect.Effect<void, Refusal, R2>
  /** One delay per retry; a message is attempted once more often than that. Each distinct delay has a retry topic. */
  readonly retryDelays: ReadonlyArray<Duration.Input>
  /** Handlers at once, over all partitions. Default 16. */
  readonly concurrency?: number | undefined
  /** While it is closed no attempt begins; the consumer keeps its place in the group. */
  readonly gate?: Latch.Latch | undefined
  /** Bytes of records per partition that are taken but not done. Default 4 MiB, and a quarter of it per retry topic. */
  readonly maxBufferedBytes?: number | undefined
  /** Messages per partition that may be in retry topics. Default 10,000. */
  readonly maxHeld?: number | undefined
  /** The least time between two commits of a partition. Default 100 milliseconds. */
  readonly commitInterval?: Duration.Input | undefined
  /** How long handlers may finish when the partition is given away or the program ends. Default 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

/** Keys would not find their partition in the companion topic: somebody has made it by hand, or added partitions. */
export class CompanionUneven extends Schema.TaggedError<CompanionUneven>()("CompanionUneven", {
  topic: Schema.String,
  partitions: Schema.Int,
  wanted: Schema.Int
}) {
  override get message() {
    return `The topic ${this.topic} has ${this.partitions} partitions and needs ${this.wanted}: give it as many, or delete ` +
      `it when nothing in it is needed, and start again (docs/messaging.md, Topics)`
  }
}

/** Sees to it that the dead letters and the retry topics are there; waits while the log is away. */
const prepare = Effect.fnUntraced(function*(log: EventLog["Service"], topic: string, places: number) {
  const partitionsOf = (name: string) =>
    log.ranges(name).pipe(
      Effect.map(({ length }) => length),
      Effect.catchTag("UnknownTopic", Effect.succeed),
      keepTrying("A consumer waits for the event log"),
      Effect.filterOrElse(Predicate.isNumber, Effect.fail)
    )
  const partitions = yield* partitionsOf(topic)
  const companions = [deadLetterTopic(topic), ...RetryTopics.topicsOf(topic, places)]
  yield* log.ensureTopics(companions.map((name) => ({ name, partitions, isExact: true }))).pipe(
    keepTrying("A consumer waits for the event log")
  )
  for (const name of companions) {
    const found = yield* partitionsOf(name)
    if (found !== partitions) {
      return yield* new CompanionUneven({ topic: name, partitions: found, wanted: partitions })
    }
  }
})

/** Consumes until interrupted; then finishes what has begun, commits, and leaves the group. */
export const run = <A, R, R2>(
  options: ConsumerOptions<A, R, R2>
): Effect.Effect<never, UnknownTopic | CompanionUneven, EventLog | R | R2> =>
  Effect.contextWith(Effect.fnUntraced(function*(context: Context.Context<EventLog | R | R2>) {
    const log = Context.get(context, EventLog)
    const retries = RetryTopics.plan(options.retryDelays.map(Duration.fromInputUnsafe))
    yield* Effect.forEach(options.topics, (topic) => prepare(log, topic, retries.places), { discard: true })
    const slots = new Slots(options.concurrency ?? 16)
    const partitionOptions: PartitionConsumer.PartitionConsumerOptions = {
      group: options.group,
      slots,
      gate: options.gate ?? Latch.makeUnsafe(true),
      handle: (record) =>
        Effect.provideContext(
          Effect.flatMap(options.decode(record), (message) => options.handle(message, record)),
          context
        ),
      retries,
      maxHeld: options.maxHeld ?? 10_000,
      maxBufferedBytes: options.maxBufferedBytes ?? 4 * 1024 * 1024,
      commitInterval: options.commitInterval ?? "100 millis",
      drainTimeout: options.drainTimeout ?? "10 seconds"
    }
    yield* ConsumerMetrics.begin(options.group, options.topics)
    return yield* log.subscribe(options, (partition) => PartitionConsumer.run(log, partitionOptions, partition))
  }))
