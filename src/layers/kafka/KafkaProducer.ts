/**
 * `publish`, as an idempotent producer with one round of batches in flight.
 *
 * Kafka drops a batch that repeats the producer's sequence numbers, so a batch may be sent until it is acknowledged: the
 * broker writes it once. That holds as long as the same numbers always mean the same records. kafkajs's own producer
 * breaks it: when several sends overlap and one acknowledgement is lost it takes the numbers back and gives them to
 * other records, which the broker then drops, acknowledged. Here numbers are given out once. A batch that is given up
 * may or may not have been written, so the producer goes on under a new identity.
 */
import { Clock, Deferred, Duration, Effect, Latch, Schedule, Semaphore } from "effect"
import type { Scope } from "effect"
import type { Message } from "kafkajs/src/protocol/requests/index.js"
import { EventLogUnavailable, RecordTooLarge } from "../../messaging/EventLog.ts"
import type { EventLog, NewRecord } from "../../messaging/EventLog.ts"
import { partitionOf } from "../../messaging/Partitioner.ts"
import { checkSizes, recordSize } from "../../messaging/RecordSize.ts"
import type { Address } from "./KafkaConnection.ts"
import { isMisdirected, KafkaFailure } from "./KafkaFailure.ts"
import type { KafkaTopics } from "./KafkaTopics.ts"
import { encodedSize, ProducerBacklog } from "./ProducerBacklog.ts"
import type { Batch } from "./ProducerBacklog.ts"
import type { Compression, NumberedBatch, ProduceRequests, ProducerIdentity } from "./ProduceRequests.ts"

export interface ProducerOptions {
  /** Bytes of key, value and headers; less than the `message.max.bytes` of brokers and topics. Default 1,000,000. */
  readonly maxRecordBytes?: number | undefined
  /** Bytes of records that wait or are under way; who publishes more waits. Default 32 MiB. */
  readonly maxPendingBytes?: number | undefined
  /** Batches are compressed: fewer bytes on the wire and in the log, more work. Default `none`. */
  readonly compression?: Compression | undefined
  /**
   * How long records may wait, and then how long they are tried, before `publish` fails: shorter outages are sat out.
   * Twice that and one request must be less than an outbox relay may take for a batch. Default 20 seconds.
   */
  readonly deliveryTimeout?: Duration.Input | undefined
}

type Failure = EventLogUnavailable | RecordTooLarge

type Numbered = Batch<Failure> & NumberedBatch

interface Sender extends ProducerIdentity {
  /** The next sequence number of each partition. */
  readonly sequences: Map<string, number>
}

const maxBatchBytes = 1_000_000
const maxRoundBytes = 4 * 1024 * 1024
const firstPause = Duration.millis(50)
const longestPause = Duration.seconds(1)
const backoff = Schedule.min([Schedule.exponential(firstPause), Schedule.spaced(longestPause)])

/** Sequence numbers are 32-bit and begin again at 0 (`DefaultRecordBatch.incrementSequence`). */
const advance = (sequence: number, records: number): number => (sequence + records) % 2 ** 31

/** What may succeed when the same batch is sent again. */
const isPassing = (failure: KafkaFailure): boolean => isMisdirected(failure) || passing.has(failure.code)
const passing = new Set([
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
  "REQUEST_TIMED_OUT",
  "CORRUPT_MESSAGE"
])

const toMessage = ({ headers, key, value }: NewRecord): Message => ({
  key: Buffer.from(key),
  value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
  headers
})

const unavailable = (cause: unknown) => new EventLogUnavailable({ operation: "publish", cause })

/** Publishes until the scope closes. */
export const make = Effect.fnUntraced(function*(
  requests: ProduceRequests,
  topics: Pick<KafkaTopics, "find">,
  options: ProducerOptions
): Effect.fn.Return<EventLog["Service"]["publish"], never, Scope.Scope> {
  const { maxPendingBytes = 32 * 1024 * 1024, maxRecordBytes = 1_000_000 } = options
  const deliveryTimeout = Duration.fromInputUnsafe(options.deliveryTimeout ?? "20 seconds")
  const backlog = new ProducerBacklog<Failure>({ maxBatchBytes, maxRoundBytes })
  const room = yield* Semaphore.make(maxPendingBytes)
  const arrived = Latch.makeUnsafe(false)
  let current: Sender | undefined

  const identify = Effect.suspend(() =>
    current !== undefined
      ? Effect.succeed(current)
      : Effect.map(requests.identify, (identity) => current = { ...identity, sequences: new Map() })
  )

  const number = ({ sequences }: Sender, batch: Batch<Failure>): Numbered => {
    const name = `${batch.topic}/${batch.partition}`
    const firstSequence = sequences.get(name) ?? 0
    sequences.set(name, advance(firstSequence, batch.records.length))
    return { ...batch, firstSequence, messages: batch.records.map(toMessage) }
  }

  const leaderOf = ({ partition, topic }: Numbered) =>
    Effect.orElseSucceed(Effect.map(requests.leaders(topic), (leaders) => leaders[partition]), () => undefined)

  const refuse = (batch: Batch<Failure>, failure: KafkaFailure) => {
    // Nobody knows whether its sequence numbers are used: the next round has a new identity.
    current = undefined
    const [first] = batch.records
    if (failure.code !== "MESSAGE_TOO_LARGE" || first === undefined) return backlog.giveUp(batch, unavailable(failure))
    backlog.shrink(batch)
    backlog.giveUp(
      batch,
      batch.records.length > 1 ? unavailable(failure) : new RecordTooLarge({
        topic: first.topic,
        key: first.key,
        size: recordSize(first),
        // Somewhere below; brokers don't say where.
        limit: recordSize(first) - 1
      })
    )
  }

  /** Answers the batches that are left, and why. */
  const send = (sender: Sender, leader: Address | undefined, batches: ReadonlyArray<Numbered>) =>
    (leader === undefined
      ? new KafkaFailure({ code: "LEADER_NOT_AVAILABLE", cause: "no leader" })
      : requests.produce(leader, sender, batches)).pipe(
        Effect.catch((failure) => Effect.succeed(batches.map((batch) => [batch, failure] as const))),
        Effect.map((results) => results.flatMap(([batch, failure]) => settle(batch, failure)))
      )

  const settle = (batch: Numbered, failure: KafkaFailure | undefined) => {
    // A duplicate was written by an earlier attempt.
    if (failure === undefined || failure.code === "DUPLICATE_SEQUENCE_NUMBER") {
      backlog.acknowledge(batch)
      return []
    }
    if (isMisdirected(failure)) requests.forgetLeaders(batch.topic)
    return [{ batch, failure }]
  }

  /** Sends every batch once, to all leaders at the same time. */
  const attempt = Effect.fnUntraced(function*(sender: Sender, batches: ReadonlyArray<Numbered>) {
    const addressed = yield* Effect.forEach(
      batches,
      (batch) => Effect.map(leaderOf(batch), (leader) => ({ batch, leader }))
    )
    const left = yield* Effect.forEach(
      Map.groupBy(addressed, ({ leader }) => leader),
      ([leader, group]) => send(sender, leader, group.map(({ batch }) => batch)),
      { concurrency: "unbounded" }
    )
    return left.flat()
  })

  const deliver = Effect.fnUntraced(function*(batches: ReadonlyArray<Batch<Failure>>) {
    const deadline = (yield* Clock.currentTimeMillis) + Duration.toMillis(deliveryTimeout)
    const sender = yield* Effect.retry(identify, Schedule.max([backoff, Schedule.during(deliveryTimeout)]))
    let left = batches.map((batch) => number(sender, batch))
    for (let pause = firstPause;; pause = Duration.min(Duration.times(pause, 2), longestPause)) {
      const failed = yield* attempt(sender, left)
      const isOver = (yield* Clock.currentTimeMillis) >= deadline
      left = []
      for (const { batch, failure } of failed) {
        if (!isOver && isPassing(failure)) left.push(batch)
        else refuse(batch, failure)
      }
      if (left.length === 0) return
      yield* Effect.logDebug("Kafka did not take all records; trying again", failed[0]?.failure)
      yield* Effect.sleep(pause)
    }
  })

  const round = (batches: ReadonlyArray<Batch<Failure>>) =>
    deliver(batches).pipe(
      // Somebody waits for these, and more come.
      Effect.catchDefect((cause) => new KafkaFailure({ code: "UNKNOWN", cause })),
      Effect.catch((failure) =>
        Effect.sync(() => {
          for (const batch of batches) refuse(batch, failure)
        })
      )
    )

  const next = Effect.gen(function*() {
    arrived.closeUnsafe()
    const now = yield* Clock.currentTimeMillis
    backlog.expire(now - Duration.toMillis(deliveryTimeout), unavailable("too many records wait"))
    const batches = backlog.cut()
    yield* batches.length === 0 ? arrived.await : round(batches)
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => backlog.expire(Infinity, unavailable("closed"))))
  yield* Effect.forkScoped(Effect.forever(next))

  const locate = Effect.fnUntraced(function*(records: ReadonlyArray<NewRecord>) {
    const names = new Set(records.map(({ topic }) => topic))
    const partitions = new Map<string, number>()
    for (const name of names) partitions.set(name, yield* topics.find(name))
    return records.map((record) => ({ record, partition: partitionOf(record.key, partitions.get(record.topic) ?? 1) }))
  })

  return Effect.fnUntraced(function*(records) {
    if (records.length === 0) return
    yield* checkSizes(records, maxRecordBytes)
    const located = yield* locate(records)
    const bytes = records.reduce((sum, record) => sum + encodedSize(record), 0)
    const arrivedAt = yield* Clock.currentTimeMillis
    const settled = yield* Deferred.make<void, Failure>()
    yield* room.withPermits(Math.min(maxPendingBytes, bytes))(
      Effect.suspend(() => {
        const withdraw = backlog.add({
          records: located,
          arrivedAt,
          settle: (error) => Deferred.doneUnsafe(settled, error === undefined ? Effect.void : Effect.fail(error))
        })
        arrived.openUnsafe()
        return Effect.onInterrupt(Deferred.await(settled), () => Effect.sync(withdraw))
      })
    )
  })
})
