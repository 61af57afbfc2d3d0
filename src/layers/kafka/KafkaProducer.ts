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
import type { KafkaClient } from "./KafkaClient.ts"
import type { Address } from "./KafkaConnection.ts"
import { checked, isMisdirected, KafkaFailure, ofCode } from "./KafkaFailure.ts"
import type { KafkaTopics } from "./KafkaTopics.ts"
import { encodedSize, ProducerBacklog } from "./ProducerBacklog.ts"
import type { Batch } from "./ProducerBacklog.ts"

export interface ProducerOptions {
  /** Bytes of key, value and headers; less than the `message.max.bytes` of brokers and topics. Default 1,000,000. */
  readonly maxRecordBytes?: number | undefined
  /** Bytes of records that wait or are under way; who publishes more waits. Default 32 MiB. */
  readonly maxPendingBytes?: number | undefined
  /** Batches are compressed: fewer bytes on the wire and in the log, more work. Default `none`. */
  readonly compression?: "none" | "gzip" | undefined
  /**
   * How long records may wait, and then how long they are tried, before `publish` fails: outages of up to that are
   * sat out. Twice that must be less than an outbox relay may take for a batch. Default 25 seconds.
   */
  readonly deliveryTimeout?: Duration.Input | undefined
}

type Failure = EventLogUnavailable | RecordTooLarge

interface Numbered extends Batch<Failure> {
  readonly firstSequence: number
  readonly messages: ReadonlyArray<Message>
}

interface Identity {
  readonly producerId: string
  readonly producerEpoch: number
  /** The next sequence number of each partition. */
  readonly sequences: Map<string, number>
}

/** Every replica in sync has the records. */
const acksAll = -1
const codecs = { none: 0, gzip: 1 }
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

const groupBy = <A, K>(all: Iterable<A>, key: (one: A) => K) => [...Map.groupBy(all, key)]

/** Publishes until the scope closes. The client should be the producer's own: a slow broker holds up its connection. */
export const make = Effect.fnUntraced(function*(
  client: KafkaClient,
  topics: KafkaTopics,
  requestTimeout: Duration.Duration,
  options: ProducerOptions
): Effect.fn.Return<EventLog["Service"]["publish"], never, Scope.Scope> {
  const { compression = "none", maxPendingBytes = 32 * 1024 * 1024, maxRecordBytes = 1_000_000 } = options
  const deliveryTimeout = Duration.fromInputUnsafe(options.deliveryTimeout ?? "25 seconds")
  const backlog = new ProducerBacklog<Failure>({ maxBatchBytes, maxRoundBytes })
  const room = yield* Semaphore.make(maxPendingBytes)
  const arrived = Latch.makeUnsafe(false)
  let identity: Identity | undefined

  const identify = Effect.suspend(() => {
    if (identity !== undefined) return Effect.succeed(identity)
    return client.askAny("InitProducerId", { transactionTimeout: 60_000 }).pipe(
      Effect.flatMap(checked),
      Effect.map(({ producerEpoch, producerId }) => identity = { producerId, producerEpoch, sequences: new Map() })
    )
  })

  const number = ({ sequences }: Identity, batch: Batch<Failure>): Numbered => {
    const name = `${batch.topic}/${batch.partition}`
    const firstSequence = sequences.get(name) ?? 0
    sequences.set(name, advance(firstSequence, batch.records.length))
    return { ...batch, firstSequence, messages: batch.records.map(toMessage) }
  }

  const request = ({ producerEpoch, producerId }: Identity, batches: ReadonlyArray<Numbered>) => ({
    acks: acksAll,
    timeout: Duration.toMillis(requestTimeout),
    compression: codecs[compression],
    producerId,
    producerEpoch,
    topicData: groupBy(batches, ({ topic }) => topic).map(([topic, partitions]) => ({ topic, partitions }))
  })

  /** Sends the batches to one leader. Answers why those that are left were not written. */
  const produce = (sender: Identity, leader: Address | undefined, batches: ReadonlyArray<Numbered>) =>
    Effect.gen(function*() {
      if (leader === undefined) return yield* new KafkaFailure({ code: "LEADER_NOT_AVAILABLE", cause: "no leader" })
      const { topics } = yield* client.ask(leader, "Produce", request(sender, batches), requestTimeout)
      const codes = new Map(
        topics.flatMap(({ partitions, topicName }) =>
          partitions.map(({ errorCode, partition }) => [`${topicName}/${partition}`, errorCode])
        )
      )
      return batches.map((batch): readonly [Numbered, KafkaFailure | undefined] => {
        const code = codes.get(`${batch.topic}/${batch.partition}`)
        const failure = code === undefined
          ? new KafkaFailure({ code: "UNKNOWN", cause: "the broker did not mention the partition" })
          : ofCode(code)
        // It was written by an earlier attempt.
        return [batch, failure?.code === "DUPLICATE_SEQUENCE_NUMBER" ? undefined : failure]
      })
    }).pipe(
      Effect.catch((failure) => Effect.succeed(batches.map((batch) => [batch, failure] as const)))
    )

  const leaderOf = ({ partition, topic }: Numbered) =>
    Effect.orElseSucceed(Effect.map(client.leaders(topic), (leaders) => leaders[partition]), () => undefined)

  const refuse = (batch: Batch<Failure>, failure: KafkaFailure) => {
    // Nobody knows whether its sequence numbers are used: the next round has a new identity.
    identity = undefined
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

  /** Sends every batch once. Answers why those are left that were not written. */
  const attempt = Effect.fnUntraced(function*(sender: Identity, batches: ReadonlyArray<Numbered>) {
    const addressed = yield* Effect.forEach(
      batches,
      (batch) => Effect.map(leaderOf(batch), (leader) => ({ batch, leader }))
    )
    const results = yield* Effect.forEach(
      groupBy(addressed, ({ leader }) => leader),
      ([leader, group]) => produce(sender, leader, group.map(({ batch }) => batch)),
      { concurrency: "unbounded" }
    )
    return results.flat().flatMap(([batch, failure]) => {
      if (failure === undefined) {
        backlog.acknowledge(batch)
        return []
      }
      if (isMisdirected(failure)) client.forgetLeaders(batch.topic)
      return [{ batch, failure }]
    })
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
    Effect.catch(deliver(batches), (failure) =>
      Effect.sync(() => {
        for (const batch of batches) refuse(batch, failure)
      }))

  const send = Effect.gen(function*() {
    arrived.closeUnsafe()
    const now = yield* Clock.currentTimeMillis
    backlog.expire(now - Duration.toMillis(deliveryTimeout), unavailable("too many records wait"))
    const batches = backlog.cut()
    yield* batches.length === 0 ? arrived.await : round(batches)
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => backlog.expire(Infinity, unavailable("closed"))))
  yield* Effect.forkScoped(Effect.forever(send))

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
