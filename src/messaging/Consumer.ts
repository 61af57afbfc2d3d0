/**
 * Handles the records of some topics as one member of a group: side by side across keys, in order along each key.
 *
 * An offset is committed once everything before it is done, where done means handled or dead-lettered. A message whose
 * handling fails is tried again after growing delays, during which only its own key waits; then it goes to
 * `<topic>.dlq`. Delivery is at least once: a handler whose effect must happen once uses an `Inbox`.
 *
 * Memory is bounded per partition. A key that keeps failing holds its later messages in that memory; should they fill
 * it, the partition waits until the failing one has used up its retries.
 */
import { Context, Duration, Effect, Semaphore } from "effect"
import { deadLetterTopic } from "./DeadLetter.ts"
import { EventLog } from "./EventLog.ts"
import type { LogRecord, Subscription, UnknownTopic } from "./EventLog.ts"
import type { HandlingFailed, MessageRefused } from "./Handling.ts"
import { keepTrying } from "./KeepTrying.ts"
import * as PartitionConsumer from "./PartitionConsumer.ts"

export interface ConsumerOptions<A, R, R2> extends Subscription {
  /** What it refuses goes to the dead letters at once. */
  readonly decode: (record: LogRecord) => Effect.Effect<A, MessageRefused, R>
  /** A defect counts as `HandlingFailed`. One that never ends holds a slot and its key for ever: limit its time. */
  readonly handle: (message: A, record: LogRecord) => Effect.Effect<void, HandlingFailed | MessageRefused, R2>
  /** One delay per retry; a message is attempted once more often than that. */
  readonly retryDelays: ReadonlyArray<Duration.Input>
  /** Handlers at once, over all partitions. Default 16. */
  readonly concurrency?: number | undefined
  /** Bytes of records per partition that are taken but not done. Default 4 MiB. */
  readonly maxBufferedBytes?: number | undefined
  /** The least time between two commits of a partition. Default 100 milliseconds. */
  readonly commitInterval?: Duration.Input | undefined
  /** How long handlers may finish when the partition is given away or the program ends. Default 10 seconds. */
  readonly drainTimeout?: Duration.Input | undefined
}

/** Consumes until interrupted; then finishes what has begun, commits, and leaves the group. */
export const run = <A, R, R2>(
  options: ConsumerOptions<A, R, R2>
): Effect.Effect<never, UnknownTopic, EventLog | R | R2> =>
  Effect.contextWith(Effect.fnUntraced(function*(context: Context.Context<EventLog | R | R2>) {
    const log = Context.get(context, EventLog)
    yield* log.ensureTopics(options.topics.map((topic) => ({ name: deadLetterTopic(topic), partitions: 1 }))).pipe(
      keepTrying("A consumer waits for the event log")
    )
    const slots = yield* Semaphore.make(options.concurrency ?? 16)
    const partitionOptions: PartitionConsumer.PartitionConsumerOptions = {
      group: options.group,
      slots,
      handle: (record) =>
        Effect.provideContext(
          Effect.flatMap(options.decode(record), (message) => options.handle(message, record)),
          context
        ),
      retryDelays: options.retryDelays.map(Duration.fromInputUnsafe),
      maxBufferedBytes: options.maxBufferedBytes ?? 4 * 1024 * 1024,
      commitInterval: options.commitInterval ?? "100 millis",
      drainTimeout: options.drainTimeout ?? "10 seconds"
    }
    return yield* log.subscribe(options, (partition) => PartitionConsumer.run(log, partitionOptions, partition))
  }))
