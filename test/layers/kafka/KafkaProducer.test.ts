/** The producer against brokers that keep Kafka's rules for sequence numbers, on a network that loses what it likes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { connectionLost, KafkaFailure, ofCode } from "../../../src/layers/kafka/KafkaFailure.ts"
import * as KafkaProducer from "../../../src/layers/kafka/KafkaProducer.ts"
import type { NumberedBatch, ProduceRequests } from "../../../src/layers/kafka/ProduceRequests.ts"
import type { NewRecord } from "../../../src/messaging/EventLog.ts"
import { partitionOf } from "../../../src/messaging/Partitioner.ts"

const topic = "events"
const partitions = 3
const outOfOrder = 45
const notLeader = 6
const tooLarge = 10

/** What becomes of one request. */
const Fate = Schema.Literals([
  "arrives",
  "is lost",
  "its answer is lost",
  "is refused by the leader's predecessor",
  "is written in part"
])
type Fate = typeof Fate.Type

interface Written {
  readonly key: string
  readonly value: string
}

/** How many of a producer's last batches a broker remembers for each partition. */
const remembered = 5

/** A partition's log and what its leader knows of producers, as `ProducerStateManager` has it. */
class Partition {
  readonly log: Array<Written> = []
  readonly #producers = new Map<string, Array<{ readonly first: number; readonly count: number }>>()

  append(producerId: string, { firstSequence, messages }: NumberedBatch): number {
    const batches = this.#producers.get(producerId) ?? []
    const isRepeated = batches.some(({ count, first }) => first === firstSequence && count === messages.length)
    if (isRepeated) return 0
    const last = batches.at(-1)
    if (firstSequence !== (last === undefined ? 0 : last.first + last.count)) return outOfOrder
    this.#producers.set(producerId, [...batches, { first: firstSequence, count: messages.length }].slice(-remembered))
    this.log.push(...messages.map(({ key, value }) => ({ key: key.toString(), value: value.toString() })))
    return 0
  }
}

const lost = new KafkaFailure({ code: connectionLost, cause: "lost" })

/** `maxMessages`: batches of more are refused as too large. */
const makeCluster = (fates: ReadonlyArray<Fate>, maxMessages = Infinity) => {
  const logs = Array.from({ length: partitions }, () => new Partition())
  let request = 0
  let producers = 0
  let inFlight = 0
  let mostInFlight = 0
  const requests: ProduceRequests = {
    leaders: () => Effect.succeed(logs.map(() => "broker:1")),
    forgetLeaders: () => {},
    identify: Effect.sync(() => ({ producerId: String(++producers), producerEpoch: 0 })),
    produce: (_, { producerId }, batches) =>
      Effect.suspend(() => {
        const fate = fates[request++] ?? "arrives"
        mostInFlight = Math.max(mostInFlight, ++inFlight)
        const write = (some: typeof batches) =>
          some.map((batch) => {
            if (batch.messages.length > maxMessages) return [batch, ofCode(tooLarge)] as const
            return [batch, ofCode(logs[batch.partition]?.append(producerId, batch) ?? -1)] as const
          })
        const half = Math.ceil(batches.length / 2)
        switch (fate) {
          case "arrives":
            return Effect.succeed(write(batches))
          case "is lost":
            return lost
          case "its answer is lost":
            write(batches)
            return lost
          case "is refused by the leader's predecessor":
            return Effect.succeed(batches.map((batch) => [batch, ofCode(notLeader)] as const))
          case "is written in part":
            return Effect.succeed([
              ...write(batches.slice(0, half)),
              ...batches.slice(half).map((batch) => [batch, ofCode(notLeader)] as const)
            ])
        }
      }).pipe(Effect.delay("5 millis"), Effect.ensuring(Effect.sync(() => inFlight--)))
  }
  return {
    requests,
    logOf: (key: string) => (logs[partitionOf(key, partitions)]?.log ?? []).filter((one) => one.key === key),
    mostInFlight: () => mostInFlight,
    producers: () => producers
  }
}

const recordOf = (key: string, value: string): NewRecord => ({
  topic,
  key,
  value: new TextEncoder().encode(value),
  headers: {}
})

const make = (requests: ProduceRequests, options: KafkaProducer.ProducerOptions = {}) =>
  KafkaProducer.make(requests, { find: () => Effect.succeed(partitions) }, options)

/** Each key is one publisher, which waits for each of its publications before the next. */
const Publishers = Schema.Array(
  Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 }))).check(Schema.isMaxLength(6))
).check(Schema.isMaxLength(5))

const publishAll = Effect.fnUntraced(function*(requests: ProduceRequests, publishers: typeof Publishers.Type) {
  const publish = yield* make(requests)
  const fibers = yield* Effect.forEach(
    publishers,
    (sizes, n) =>
      Effect.forkScoped(
        Effect.forEach(sizes, (size, i) =>
          Effect.exit(publish(Array.from({ length: size }, (_, j) => recordOf(`key-${n}`, `${i}.${j}`)))))
      )
  )
  yield* TestClock.adjust("10 minutes")
  return yield* Effect.forEach(fibers, Fiber.join)
})

describe("KafkaProducer", () => {
  it.effect.prop(
    "law 53: whatever is lost on the way, what is acknowledged is in the log, once and in order",
    [Publishers, Schema.Array(Fate).check(Schema.isMaxLength(20))],
    ([publishers, fates]) =>
      Effect.gen(function*() {
        const cluster = makeCluster(fates)
        const exits = yield* publishAll(cluster.requests, publishers)
        assert.isAtMost(cluster.mostInFlight(), 1)
        assert.isTrue(exits.flat().every(Exit.isSuccess))
        for (const [n, sizes] of publishers.entries()) {
          const expected = sizes.flatMap((size, i) => Array.from({ length: size }, (_, j) => `${i}.${j}`))
          assert.deepStrictEqual(cluster.logOf(`key-${n}`).map(({ value }) => value), expected)
        }
      }),
    { arbitrary: { runs: 1_000 } }
  )

  it.effect.prop(
    "law 53: what is published again after a failure comes at least once, and its first copies are in order",
    [Publishers, Schema.Literals(["is lost", "its answer is lost"])],
    ([publishers, fate]) =>
      Effect.gen(function*() {
        // Longer than a delivery is tried.
        const outage = Array.from({ length: 60 }, (): Fate => fate)
        const cluster = makeCluster(outage)
        const publish = yield* make(cluster.requests)
        const fibers = yield* Effect.forEach(publishers, (sizes, n) =>
          Effect.forkScoped(Effect.forEach(sizes, (size, i) =>
            Effect.retry(
              publish(Array.from({ length: size }, (_, j) =>
                recordOf(`key-${n}`, `${i}.${j}`))),
              { times: 20 }
            ))))
        yield* TestClock.adjust("1 hour")
        yield* Effect.forEach(fibers, Fiber.join)
        for (const [n, sizes] of publishers.entries()) {
          const expected = sizes.flatMap((size, i) =>
            Array.from({ length: size }, (_, j) => `${i}.${j}`)
          )
          const firsts = [...new Set(cluster.logOf(`key-${n}`).map(({ value }) => value))]
          assert.deepStrictEqual(firsts, expected)
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("gives up after its time, and goes on under a new identity", () =>
    Effect.gen(function*() {
      const cluster = makeCluster(Array.from({ length: 25 }, () => "is lost"))
      const publish = yield* make(cluster.requests, { deliveryTimeout: "10 seconds" })
      const first = yield* Effect.forkScoped(Effect.flip(publish([recordOf("k", "1")])))
      yield* TestClock.adjust("9 seconds")
      assert.isUndefined(first.pollUnsafe())
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* Fiber.join(first))._tag, "EventLogUnavailable")
      assert.strictEqual(cluster.producers(), 1)
      const second = yield* Effect.forkScoped(publish([recordOf("k", "2")]))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(second)
      assert.deepStrictEqual(cluster.logOf("k").map(({ value }) => value), ["2"])
      assert.strictEqual(cluster.producers(), 2)
    }))

  it.effect("who publishes more than may wait, waits", () =>
    Effect.gen(function*() {
      const cluster = makeCluster([])
      const publish = yield* make(cluster.requests, { maxPendingBytes: 1_000 })
      const large = recordOf("k", "x".repeat(700))
      const fibers = yield* Effect.replicateEffect(Effect.forkScoped(publish([large])), 3)
      const done = Effect.sync(() => fibers.filter((fiber) => fiber.pollUnsafe() !== undefined).length)
      yield* TestClock.adjust("5 millis")
      assert.strictEqual(yield* done, 1)
      yield* TestClock.adjust("5 millis")
      assert.strictEqual(yield* done, 2)
      // Who gives up waiting leaves no trace.
      yield* Effect.forEach(fibers, Fiber.interrupt)
      const last = yield* Effect.forkScoped(publish([recordOf("k", "last")]))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(last)
      assert.include([3, 4], cluster.logOf("k").length)
    }))

  it.effect("a topic that takes only small batches gets small ones, and a record that is too large for it is named", () =>
    Effect.gen(function*() {
      const cluster = makeCluster([], 3)
      const publish = yield* make(cluster.requests)
      const records = Array.from({ length: 20 }, (_, i) => recordOf("k", String(i)))
      const fiber = yield* Effect.forkScoped(Effect.retry(publish(records), { times: 5 }))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        [...new Set(cluster.logOf("k").map(({ value }) => value))],
        records.map((_, i) => String(i))
      )
      const none = makeCluster([], 0)
      const publishToNone = yield* make(none.requests)
      const refused = yield* Effect.forkScoped(Effect.flip(publishToNone([recordOf("k", "1")])))
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(refused)
      assert(error._tag === "RecordTooLarge")
      assert.strictEqual(error.key, "k")
    }))
})
