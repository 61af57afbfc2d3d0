/** What every adapter of `EventLog` keeps. Runs on the live clock, as a real log does not follow a virtual one. */
import { assert, layer as shareLayer } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Queue, Random } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type {
  AssignedPartition,
  CompanionPartition,
  LogRecord,
  NewRecord,
  Subscription
} from "../../../src/messaging/EventLog.ts"
import { partitionOf } from "../../../src/messaging/Partitioner.ts"

/** Real servers on a busy machine take their time; each wait of these tests has a deadline of its own. */

/** Lets the members of a group appear to have been paused for longer than their lease, without their knowledge. */
export class Leases extends Context.Service<Leases, {
  readonly end: (group: string) => Effect.Effect<void>
}>()("maas/test/contract/messaging/EventLogContract/Leases") {}

const text = (record: { readonly value: Uint8Array }) => new TextDecoder().decode(record.value)

const recordOf = (topic: string, key: string, value: string): NewRecord => ({
  topic,
  key,
  value: new TextEncoder().encode(value),
  headers: {}
})

/** `n` records over `keys` keys; the value is the key's own count, so that order along the key can be read off. */
const numbered = (topic: string, n: number, keys: number): ReadonlyArray<NewRecord> =>
  Array.from({ length: n }, (_, i) => recordOf(topic, `key-${i % keys}`, String(Math.floor(i / keys))))

const uniqueTopic = Effect.fnUntraced(function*(partitions: number) {
  const log = yield* EventLog
  const topic = `topic-${yield* Random.nextInt}`
  yield* log.ensureTopics([{ name: topic, partitions }])
  return topic
})

const subscriptionOf = (topic: string, more?: Partial<Subscription>): Subscription => ({
  group: `group-of-${topic}`,
  topics: [topic],
  from: "earliest",
  ...more
})

/** Polls a condition that has no signal of its own; fails the test when it does not come true in time. */
export const eventually = <A, E, R>(what: string, probe: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  probe.pipe(
    Effect.delay("10 millis"),
    Effect.repeat({ until: holds }),
    Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.die(new Error(`not in time: ${what}`)) })
  )

interface Delivery {
  readonly member: string
  readonly record: LogRecord
}

/** A member that notes what it gets and commits each batch after it. */
const member = Effect.fnUntraced(function*(name: string, subscription: Subscription, seen: Queue.Enqueue<Delivery>) {
  const log = yield* EventLog
  const held = new Set<number>()
  const fiber = yield* Effect.forkScoped(log.subscribe(subscription, (partition) =>
    Effect.gen(function*() {
      held.add(partition.partition)
      while (true) {
        const batch = yield* partition.take
        yield* Queue.offerAll(seen, batch.map((record) => ({ member: name, record })))
        yield* Effect.ignore(partition.commit((batch.at(-1)?.offset ?? 0) + 1))
      }
    }).pipe(Effect.ensuring(Effect.sync(() => held.delete(partition.partition))))))
  return { held: Effect.sync(() => [...held].toSorted((a, b) => a - b)), leave: Fiber.interrupt(fiber), fiber }
})

/** Takes the first `n` distinct records, whatever is delivered twice. */
const takeDistinct = Effect.fnUntraced(function*(seen: Queue.Dequeue<Delivery>, n: number) {
  const deliveries: Array<Delivery> = []
  const names = new Set<string>()
  while (names.size < n) {
    const delivery = yield* Queue.take(seen)
    deliveries.push(delivery)
    names.add(`${delivery.record.partition}/${delivery.record.offset}`)
  }
  return deliveries
})

const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutOrElse(effect, {
    duration: "60 seconds",
    orElse: () => Effect.die(new Error("nothing was delivered in time"))
  })

/** The first deliveries of each record are in order along each key. */
const assertOrderPerKey = (deliveries: ReadonlyArray<Delivery>) => {
  const firsts = new Map(deliveries.toReversed().map((one) => [`${one.record.partition}/${one.record.offset}`, one]))
  const order = [...firsts.values()].toReversed()
  for (const [key, group] of Map.groupBy(order, ({ record }) => record.key)) {
    const numbers = group.map(({ record }) => Number(text(record)))
    assert.deepStrictEqual(numbers, numbers.map((_, i) => i), `order along ${key}`)
  }
}

export const eventLogContract = <E>(name: string, adapter: Layer.Layer<EventLog | Leases, E>) =>
  shareLayer(adapter, { excludeTestServices: true, timeout: "2 minutes" })(name, (it) => {
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
          const { record } = yield* Effect.timeoutOrElse(Queue.take(seen), {
            duration: "2 seconds",
            orElse: () => Effect.die(new Error("not woken"))
          })
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

    it.effect("a group starts at the earliest record or after the latest, as it wishes", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(2)
        yield* log.publish(numbered(topic, 10, 5))
        const all = yield* Queue.unbounded<Delivery>()
        const recent = yield* Queue.unbounded<Delivery>()
        yield* member("a", subscriptionOf(topic, { group: `${topic}-all` }), all)
        const latecomer = yield* member(
          "b",
          subscriptionOf(topic, { group: `${topic}-recent`, from: "latest" }),
          recent
        )
        yield* eventually("the latecomer has both partitions", latecomer.held, (held) => held.length === 2)
        yield* log.publish([recordOf(topic, "key-0", "new"), recordOf(topic, "key-1", "new")])
        assert.strictEqual((yield* inTime(takeDistinct(all, 12))).length, 12)
        const deliveries = yield* inTime(takeDistinct(recent, 2))
        assert.deepStrictEqual(deliveries.map(({ record }) => text(record)), ["new", "new"])
      }))

    it.effect("`latest` is settled once: what is published while the group is away is delivered when it returns", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(1)
        const subscription = subscriptionOf(topic, { from: "latest" })
        const seen = yield* Queue.unbounded<Delivery>()
        const first = yield* member("first", subscription, seen)
        yield* eventually("assigned", first.held, (held) => held.length === 1)
        yield* first.leave
        yield* log.publish([recordOf(topic, "k", "while away")])
        yield* member("second", subscription, seen)
        const [delivery] = yield* inTime(takeDistinct(seen, 1))
        assert.strictEqual(delivery?.record === undefined ? "" : text(delivery.record), "while away")
      }))

    it.effect("law 57: resumes after the committed offset, and redelivers what was not committed", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(1)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(topic, 10, 1))
        const taken = yield* Deferred.make<void>()
        const first = yield* Effect.forkScoped(log.subscribe(subscription, (partition) =>
          Effect.gen(function*() {
            yield* partition.take
            yield* Effect.orDie(partition.commit(4))
            yield* Deferred.succeed(taken, undefined)
            return yield* Effect.never
          })))
        yield* inTime(Deferred.await(taken))
        yield* Fiber.interrupt(first)
        const seen = yield* Queue.unbounded<Delivery>()
        yield* member("second", subscription, seen)
        const deliveries = yield* inTime(takeDistinct(seen, 6))
        assert.deepStrictEqual(deliveries.map(({ record }) => record.offset), [4, 5, 6, 7, 8, 9])
      }))

    it.effect("a commit never moves back", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(1)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(topic, 10, 1))
        const done = yield* Deferred.make<void>()
        yield* Effect.forkScoped(log.subscribe(subscription, (partition) =>
          Effect.gen(function*() {
            yield* partition.take
            yield* Effect.orDie(partition.commit(7))
            yield* Effect.orDie(partition.commit(3))
            yield* Deferred.succeed(done, undefined)
            return yield* Effect.never
          })))
        yield* inTime(Deferred.await(done))
        assert.deepStrictEqual(yield* log.lag(subscription.group), [
          { topic, partition: 0, committed: 7, end: 10, lag: 3 }
        ])
      }))

    it.effect("groups read on their own; lag and ranges tell how far", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(2)
        yield* log.publish(numbered(topic, 20, 10))
        const seen = yield* Queue.unbounded<Delivery>()
        const group = subscriptionOf(topic).group
        yield* member("a", subscriptionOf(topic), seen)
        yield* inTime(takeDistinct(seen, 20))
        yield* eventually("all is committed", log.lag(group), (lags) => lags.every(({ lag }) => lag === 0))
        yield* log.publish(numbered(topic, 4, 4))
        const ranges = yield* log.ranges(topic)
        assert.strictEqual(ranges.reduce((sum, { end, start }) => sum + end - start, 0), 24)
        assert.deepStrictEqual(yield* log.lag("no such group"), [])
        const other = yield* Queue.unbounded<Delivery>()
        yield* member("b", subscriptionOf(topic, { group: "other" }), other)
        yield* inTime(takeDistinct(other, 24))
      }))

    it.effect("members share the partitions evenly, take over from who leaves, and each record goes to one", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(6)
        const subscription = subscriptionOf(topic)
        const seen = yield* Queue.unbounded<Delivery>()
        const a = yield* member("a", subscription, seen)
        yield* eventually("a has all", a.held, (held) => held.length === 6)
        const b = yield* member("b", subscription, seen)
        const c = yield* member("c", subscription, seen)
        const all = Effect.all([a.held, b.held, c.held])
        yield* eventually("even shares", all, (shares) => shares.every((held) => held.length === 2))
        assert.deepStrictEqual((yield* all).flat().toSorted((x, y) => x - y), [0, 1, 2, 3, 4, 5])

        yield* log.publish(numbered(topic, 120, 40))
        const deliveries = yield* inTime(takeDistinct(seen, 120))
        assert.strictEqual(deliveries.length, 120)
        assertOrderPerKey(deliveries)

        yield* b.leave
        const rest = Effect.all([a.held, c.held])
        yield* eventually("the others take over", rest, (shares) => shares.every((held) => held.length === 3))
      }))

    it.effect("who keeps a partition is not disturbed when members come and go", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(4)
        const subscription = subscriptionOf(topic)
        const begun: Array<number> = []
        const ended: Array<number> = []
        const held = Effect.sync(() => begun.length - ended.length)
        yield* Effect.forkScoped(log.subscribe(subscription, ({ partition }) => {
          begun.push(partition)
          return Effect.ensuring(Effect.never, Effect.sync(() => ended.push(partition)))
        }))
        yield* eventually("the first has all", held, (count) => count === 4)
        const seen = yield* Queue.unbounded<Delivery>()
        const guest = yield* member("guest", subscription, seen)
        yield* eventually("the guest has its share", guest.held, (partitions) => partitions.length === 2)
        assert.deepStrictEqual(ended.toSorted(), yield* guest.held)
        yield* guest.leave
        yield* eventually("the first has all again", held, (count) => count === 4)
        assert.strictEqual(begun.length, 6)
        assert.strictEqual(ended.length, 2)
      }))

    it.effect("law 57: a partition stays with its owner while a handler works for longer than the lease", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(1)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(topic, 2, 1))
        const history: Array<string> = []
        const worked = yield* Deferred.make<void>()
        const handler = (name: string) => (partition: AssignedPartition) =>
          Effect.gen(function*() {
            yield* partition.take
            history.push(`${name} begins`)
            yield* Effect.sleep("4 seconds")
            yield* Effect.orDie(partition.commit(2))
            history.push(`${name} has worked`)
            yield* Deferred.succeed(worked, undefined)
          })
        yield* Effect.forkScoped(log.subscribe(subscription, handler("first")))
        yield* eventually("it has begun", Effect.sync(() => history.length), (count) => count === 1)
        yield* Effect.forkScoped(log.subscribe(subscription, handler("second")))
        yield* inTime(Deferred.await(worked))
        assert.deepStrictEqual(history, ["first begins", "first has worked"])
      }))

    it.effect("law 57: members come and go under load: nothing is lost, and keys stay in order", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(4)
        const subscription = subscriptionOf(topic, { maxBatchRecords: 7 })
        const seen = yield* Queue.unbounded<Delivery>()
        const total = 1_200
        const records = numbered(topic, total, 12)
        yield* Effect.forkScoped(
          Effect.forEach(
            Array.from({ length: total / 12 }, (_, i) => i),
            (i) => Effect.delay(log.publish(records.slice(i * 12, (i + 1) * 12)), "10 millis")
          )
        )
        yield* member("steady", subscription, seen)
        yield* Effect.forkScoped(
          Effect.forEach(Array.from({ length: 6 }, (_, i) => i), (i) =>
            Effect.scoped(Effect.gen(function*() {
              const guest = yield* member(`guest-${i}`, subscription, seen)
              yield* eventually("the guest has its share", guest.held, (held) => held.length === 2)
              yield* Effect.sleep("50 millis")
            })))
        )
        const deliveries = yield* inTime(takeDistinct(seen, total))
        assertOrderPerKey(deliveries)
        assert.isAbove(new Set(deliveries.map(({ member }) => member)).size, 1, "guests took part")
      }))

    it.effect("law 57: a handler that is interrupted by a rebalance may finish and commit before the next owner starts", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(1)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(topic, 3, 1))
        const history: Array<string> = []
        const started = yield* Deferred.make<void>()
        const first = yield* Effect.forkScoped(log.subscribe(subscription, (partition) =>
          Effect.gen(function*() {
            yield* partition.take
            yield* Deferred.succeed(started, undefined)
            return yield* Effect.never
          }).pipe(Effect.ensuring(
            Effect.sleep("200 millis").pipe(
              Effect.andThen(Effect.exit(partition.commit(2))),
              Effect.tap((exit) => Effect.sync(() => history.push(`first commits: ${exit._tag}`)))
            )
          ))))
        yield* inTime(Deferred.await(started))
        const got = yield* Deferred.make<number>()
        yield* Effect.forkScoped(Effect.andThen(
          Effect.sleep("50 millis"),
          log.subscribe(subscription, (partition) =>
            Effect.flatMap(partition.take, ([record]) => {
              history.push("second starts")
              return Effect.andThen(Deferred.succeed(got, record.offset), Effect.never)
            }))
        ))
        yield* Fiber.interrupt(first)
        assert.strictEqual(yield* inTime(Deferred.await(got)), 2)
        assert.deepStrictEqual(history, ["first commits: Success", "second starts"])
      }))

    it.effect("law 57: a partition that moves to a new member stays with the old one until its handler has finished", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(2)
        const subscription = subscriptionOf(topic)
        const history: Array<string> = []
        const [running, got] = [yield* Queue.unbounded<number>(), yield* Deferred.make<void>()]
        yield* Effect.forkScoped(
          log.subscribe(
            subscription,
            (partition) =>
              Effect.andThen(Queue.offer(running, partition.partition), Effect.never).pipe(Effect.ensuring(
                Effect.sleep("200 millis").pipe(
                  Effect.andThen(Effect.exit(partition.commit(0))),
                  Effect.tap((exit) => Effect.sync(() => history.push(`${partition.partition} ends: ${exit._tag}`)))
                )
              ))
          )
        )
        yield* inTime(Queue.takeN(running, 2))
        let moved = -1
        yield* Effect.forkScoped(log.subscribe(subscription, ({ partition }) => {
          history.push(`${partition} starts`)
          moved = partition
          return Effect.asVoid(Deferred.succeed(got, undefined))
        }))
        yield* inTime(Deferred.await(got))
        assert.deepStrictEqual(history, [`${moved} ends: Success`, `${moved} starts`])
      }))

    it.effect("law 57: who was paused past its lease can't commit, and its work is delivered again", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const leases = yield* Leases
        const topic = yield* uniqueTopic(1)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(topic, 5, 1))
        const paused = yield* Deferred.make<AssignedPartition>()
        const seen = yield* Queue.unbounded<Delivery>()
        yield* Effect.forkScoped(log.subscribe(subscription, (partition) =>
          Effect.gen(function*() {
            const batch = yield* partition.take
            // It may be the successor itself, when it finds out and joins again.
            if (yield* Deferred.isDone(paused)) {
              yield* Queue.offerAll(seen, batch.map((record) => ({ member: "again", record })))
            } else {
              yield* Effect.orDie(partition.commit(1))
              yield* Deferred.succeed(paused, partition)
            }
            return yield* Effect.never
          })))
        const old = yield* inTime(Deferred.await(paused))
        yield* leases.end(subscription.group)
        const lost = yield* Effect.flip(old.commit(5))
        assert(lost._tag === "PartitionLost")
        assert.deepStrictEqual([lost.group, lost.topic, lost.partition], [subscription.group, topic, 0])

        yield* member("successor", subscription, seen)
        const deliveries = yield* inTime(takeDistinct(seen, 1))
        assert.strictEqual(deliveries[0]?.record.offset, 1)
        assert.strictEqual((yield* Effect.flip(old.commit(5)))._tag, "PartitionLost")
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

    it.effect("law 57: companions come along with a partition: read and committed by its owner, and by nobody else", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const leases = yield* Leases
        const topic = yield* uniqueTopic(2)
        const beside = `${topic}.beside`
        yield* log.ensureTopics([{ name: beside, partitions: 2, isExact: true }])
        const partition = partitionOf("key-0", 2)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(beside, 5, 1))
        const opened = yield* Queue.unbounded<CompanionPartition>()
        const seen = yield* Queue.unbounded<ReadonlyArray<LogRecord>>()
        const owner = yield* Effect.forkScoped(
          log.subscribe(
            subscription,
            (assigned) =>
              assigned.partition !== partition ? Effect.never : Effect.scoped(Effect.gen(function*() {
                for (const companion of yield* Effect.orDie(assigned.companions([beside]))) {
                  yield* Queue.offer(opened, companion)
                  return yield* Effect.forever(Effect.flatMap(companion.take, (batch) => Queue.offer(seen, batch)))
                }
              }))
          )
        )
        const first = yield* inTime(Queue.take(opened))
        assert.deepStrictEqual([first.topic, first.partition, first.committed, first.end], [beside, partition, 0, 5])
        const read = (yield* inTime(Queue.take(seen))).map(text)
        while (read.length < 5) read.push(...(yield* inTime(Queue.take(seen))).map(text))
        assert.deepStrictEqual(read, ["0", "1", "2", "3", "4"])
        yield* log.publish([recordOf(beside, "key-0", "5")])
        assert.deepStrictEqual((yield* inTime(Queue.take(seen))).map(text), ["5"])
        yield* first.commit(4)
        yield* first.commit(2)
        const lags = (yield* log.lag(subscription.group)).filter((one) =>
          one.topic === beside && one.partition === partition
        )
        assert.deepStrictEqual(lags, [{ topic: beside, partition, committed: 4, end: 6, lag: 2 }])

        yield* leases.end(subscription.group)
        assert.strictEqual((yield* Effect.flip(first.commit(6)))._tag, "PartitionLost")
        yield* Fiber.interrupt(owner)
        yield* Effect.forkScoped(
          log.subscribe(
            subscription,
            (assigned) =>
              assigned.partition !== partition ? Effect.never : Effect.scoped(Effect.flatMap(
                Effect.orDie(assigned.companions([beside])),
                (all) => Effect.andThen(Queue.offerAll(opened, all), Effect.never)
              ))
          )
        )
        const next = yield* inTime(
          Effect.repeat(Queue.take(opened), { until: (companion) => companion !== first && companion.committed > 0 })
        )
        assert.deepStrictEqual([next.committed, next.end], [4, 6])
        const [record] = yield* inTime(next.take)
        assert.strictEqual(record.offset, 4)
        yield* next.commit(6)
      }))

    it.effect("a defect of a handler ends its subscription, and gives the partitions back", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic(2)
        const subscription = subscriptionOf(topic)
        yield* log.publish(numbered(topic, 4, 4))
        const exit = yield* inTime(Effect.exit(log.subscribe(subscription, () => Effect.die("a bug"))))
        assert.strictEqual(exit._tag, "Failure")
        const seen = yield* Queue.unbounded<Delivery>()
        yield* member("next", subscription, seen)
        assert.strictEqual((yield* inTime(takeDistinct(seen, 4))).length, 4)
      }))
  })
