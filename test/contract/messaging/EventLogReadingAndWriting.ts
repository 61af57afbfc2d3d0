import { assert } from "@effect/vitest"
import type { Vitest } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { LogRecord, NewRecord } from "../../../src/messaging/EventLog.ts"
import { partitionOf } from "../../../src/messaging/Partitioner.ts"
import {
  assertOrderPerKey,
  eventually,
  inTime,
  member,
  numbered,
  recordOf,
  subscriptionOf,
  takeDistinct,
  text,
  uniqueTopic
} from "./EventLogFixtures.ts"
import type { Delivery, Leases } from "./EventLogFixtures.ts"

/** What is published is what is read: bytes, order, bounds, and nobody who waits for another. */
export const readingAndWriting = (it: Vitest.MethodsNonLive<EventLog | Leases>): void => {
  it.effect("gives back what was published, byte by byte, in the key's partition", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(4)
      const published: ReadonlyArray<NewRecord> = [
        { topic, key: "", value: new Uint8Array(), headers: {} },
        {
          topic,
          key: "ключ 🔑",
          value: new Uint8Array([0, 255, 128, 10]),
          headers: { "a-b": "ä", camelCase: "x_y" }
        },
        { topic, key: "large", value: new Uint8Array(300_000).fill(7), headers: { "event-id": "1" } }
      ]
      yield* log.publish(published)
      const seen = yield* Queue.unbounded<Delivery>()
      yield* member("a", subscriptionOf(topic), seen)
      const deliveries = yield* inTime(takeDistinct(seen, published.length))
      for (const wanted of published) {
        const { record } = deliveries.find(({ record }) => record.key === wanted.key) ?? assert.fail(wanted.key)
        assert.deepStrictEqual(record.value, wanted.value)
        assert.deepStrictEqual({ ...record.headers }, { ...wanted.headers })
        assert.strictEqual(record.partition, partitionOf(wanted.key, 4))
        assert.isAbove(record.publishedAt, Date.UTC(2020, 0))
      }
    }))

  it.effect("names an unknown topic, to who publishes and to who subscribes", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const publishing = yield* Effect.flip(log.publish([recordOf("nowhere", "k", "v")]))
      assert.deepStrictEqual([publishing._tag, "topic" in publishing && publishing.topic], [
        "UnknownTopic",
        "nowhere"
      ])
      const subscribing = yield* Effect.flip(log.subscribe(subscriptionOf("nowhere"), () => Effect.void))
      assert.strictEqual(subscribing.topic, "nowhere")
      const ranging = yield* Effect.flip(log.ranges("nowhere"))
      assert.strictEqual(ranging._tag, "UnknownTopic")
    }))

  it.effect("refuses a record that is too large, and writes nothing of its batch", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(1)
      const large = { ...recordOf(topic, "k", ""), value: new Uint8Array(1024 * 1024) }
      const error = yield* Effect.flip(log.publish([recordOf(topic, "k", "small"), large]))
      assert.strictEqual(error._tag, "RecordTooLarge")
      assert.deepStrictEqual(yield* log.ranges(topic), [{ partition: 0, start: 0, end: 0 }])
    }))

  it.effect("keeps a topic as it is when it is ensured again", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(3)
      yield* Effect.all([
        log.ensureTopics([{ name: topic, partitions: 5 }]),
        log.ensureTopics([{ name: topic, partitions: 1 }])
      ], { concurrency: 2 })
      assert.strictEqual((yield* log.ranges(topic)).length, 3)
    }))

  it.effect("keeps the order of each publisher, and offsets grow, when many publish at once", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(3)
      yield* Effect.forEach(
        Array.from({ length: 8 }, (_, i) => `key-${i}`),
        (key) =>
          Effect.forEach(
            Array.from({ length: 30 }, (_, i) => i),
            (i) => log.publish([recordOf(topic, key, String(2 * i)), recordOf(topic, key, String(2 * i + 1))])
          ),
        {
          concurrency: "unbounded"
        }
      )
      const seen = yield* Queue.unbounded<Delivery>()
      yield* member("a", subscriptionOf(topic), seen)
      const deliveries = yield* inTime(takeDistinct(seen, 480))
      assertOrderPerKey(deliveries)
      for (const group of Map.groupBy(deliveries, ({ record }) => record.partition).values()) {
        const offsets = group.map(({ record }) => record.offset)
        assert.deepStrictEqual(offsets, [...new Set(offsets)].toSorted((a, b) => a - b))
      }
    }))

  it.effect("publishers of several partitions in different orders do not lock each other out", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(8)
      const records = numbered(topic, 40, 40)
      yield* inTime(
        Effect.forEach(
          Array.from({ length: 40 }, (_, i) => i),
          (i) => log.publish(i % 2 === 0 ? records : records.toReversed()),
          { concurrency: 10 }
        )
      )
      const ranges = yield* log.ranges(topic)
      assert.strictEqual(ranges.reduce((sum, { end }) => sum + end, 0), 1_600)
    }))

  it.effect("a batch of any size is published whole and in order", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(2)
      const records = numbered(topic, 6_000, 5).map((record, i) => ({
        ...record,
        headers: { filler: "x".repeat(i % 1_000) }
      }))
      yield* log.publish(records)
      const seen = yield* Queue.unbounded<Delivery>()
      yield* member("a", subscriptionOf(topic), seen)
      const deliveries = yield* inTime(takeDistinct(seen, records.length))
      assertOrderPerKey(deliveries)
      const ranges = yield* log.ranges(topic)
      assert.strictEqual(ranges.reduce((sum, { end, start }) => sum + end - start, 0), records.length)
    }))

  it.effect("a partition whose reader takes nothing does not hold up the others", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(3)
      const records = numbered(topic, 900, 30).map((record) => ({ ...record, value: new Uint8Array(2_000) }))
      const stuck = partitionOf("key-0", 3)
      yield* log.publish(records)
      const seen = yield* Queue.unbounded<number>()
      yield* Effect.forkScoped(
        log.subscribe(
          subscriptionOf(topic, { maxBatchRecords: 10, maxBatchBytes: 20_000 }),
          ({ partition, take }) =>
            Effect.forever(Effect.flatMap(take, (batch) =>
              Effect.andThen(
                Queue.offer(seen, batch.length),
                partition === stuck ? Effect.never : Effect.void
              )))
        )
      )
      const free = records.filter(({ key }) => partitionOf(key, 3) !== stuck).length
      let count = 0
      yield* inTime(Effect.repeat(Queue.take(seen), { until: (n) => (count += n) >= free }))
    }))

  it.effect("wakes a waiting reader", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(1)
      const seen = yield* Queue.unbounded<Delivery>()
      const { held } = yield* member("a", subscriptionOf(topic), seen)
      yield* eventually("the partition is assigned", held, (partitions) => partitions.length === 1)
      for (let i = 0; i < 20; i++) {
        yield* log.publish([recordOf(topic, "k", String(i))])
        const { record } = yield* inTime(Queue.take(seen))
        assert.strictEqual(text(record), String(i))
      }
    }))

  it.effect("bounds batches by records and by bytes, yet always delivers one", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(1)
      const sizes = [10, 10, 10, 10, 500, 60, 50, 10]
      yield* log.publish(sizes.map((size) => ({ ...recordOf(topic, "k", ""), value: new Uint8Array(size) })))
      const batches = yield* Queue.unbounded<ReadonlyArray<number>>()
      yield* Effect.forkScoped(
        log.subscribe(subscriptionOf(topic, { maxBatchRecords: 3, maxBatchBytes: 100 }), ({ take }) =>
          Effect.forever(Effect.flatMap(take, (batch) =>
            Queue.offer(
              batches,
              batch.map(({ value }) =>
                value.byteLength
              )
            ))))
      )
      const taken = yield* inTime(Effect.replicateEffect(Queue.take(batches), 5))
      assert.deepStrictEqual(taken, [[10, 10, 10], [10], [500], [60], [50, 10]])
    }))

  it.effect("is read without a group: in order, bounded, from anywhere, and without waiting", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const topic = yield* uniqueTopic(2)
      const [first, second] = ["key-0", "key-1"].map((key) => partitionOf(key, 2))
      yield* log.publish(numbered(topic, 20, 1))
      const partition = first ?? 0
      const all: Array<LogRecord> = []
      let offset = 0
      while (all.length < 20) {
        const { next, records } = yield* log.read({ topic, partition, offset, maxRecords: 7 })
        assert.isAtMost(records.length, 7)
        assert.isAbove(next, offset)
        all.push(...records)
        offset = next
      }
      assert.deepStrictEqual(all.map(text), Array.from({ length: 20 }, (_, i) => String(i)))
      assert.deepStrictEqual(yield* log.read({ topic, partition, offset: 20 }), { records: [], next: 20 })
      const { records: [one] } = yield* log.read({ topic, partition, offset: 13, maxRecords: 1 })
      assert.strictEqual(one === undefined ? "" : text(one), "13")
      const { records: [large] } = yield* log.read({ topic, partition, offset: 3, maxBytes: 1 })
      assert.strictEqual(large?.offset, 3)
      if (second !== first) {
        assert.deepStrictEqual(yield* log.read({ topic, partition: second ?? 0, offset: 0 }), {
          records: [],
          next: 0
        })
      }
      assert.strictEqual(
        (yield* Effect.flip(log.read({ topic: "nowhere", partition: 0, offset: 0 })))._tag,
        "UnknownTopic"
      )
    }))
}
