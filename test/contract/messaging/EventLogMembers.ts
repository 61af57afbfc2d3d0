import { assert } from "@effect/vitest"
import type { Vitest } from "@effect/vitest"
import { Deferred, Effect, Fiber, Queue } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { AssignedPartition, CompanionPartition, LogRecord } from "../../../src/messaging/EventLog.ts"
import { partitionOf } from "../../../src/messaging/Partitioner.ts"
import {
  assertOrderPerKey,
  eventually,
  inTime,
  Leases,
  longerThanLease,
  member,
  numbered,
  recordOf,
  subscriptionOf,
  takeDistinct,
  text,
  uniqueTopic
} from "./EventLogFixtures.ts"
import type { Delivery } from "./EventLogFixtures.ts"

/** How the members of a group share the partitions, and hand them over. */
export const members = (it: Vitest.MethodsNonLive<EventLog | Leases>): void => {
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
          yield* Effect.sleep(longerThanLease)
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
      const [publications, guestIsThere] = [total / 12, yield* Deferred.make<void>()]
      yield* Effect.forkScoped(
        Effect.forEach(
          Array.from({ length: publications }, (_, i) => i),
          (i) =>
            // Half of it comes when a guest has its share: a group may take longer to change than all of it to come
            Effect.andThen(
              i === publications / 2 ? Deferred.await(guestIsThere) : Effect.void,
              Effect.delay(log.publish(records.slice(i * 12, (i + 1) * 12)), "10 millis")
            )
        )
      )
      yield* member("steady", subscription, seen)
      yield* Effect.forkScoped(
        Effect.forEach(Array.from({ length: 6 }, (_, i) => i), (i) =>
          Effect.scoped(Effect.gen(function*() {
            const guest = yield* member(`guest-${i}`, subscription, seen)
            yield* eventually("the guest has its share", guest.held, (held) => held.length === 2)
            yield* Deferred.succeed(guestIsThere, undefined)
            yield* eventually("the guest has taken part", guest.taken, (count) => count > 0)
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
      // Not `opened`, where the former owner may have put what it got when it joined again
      const reopened = yield* Queue.unbounded<CompanionPartition>()
      yield* Effect.forkScoped(
        log.subscribe(
          subscription,
          (assigned) =>
            assigned.partition !== partition ? Effect.never : Effect.scoped(Effect.flatMap(
              Effect.orDie(assigned.companions([beside])),
              (all) => Effect.andThen(Queue.offerAll(reopened, all), Effect.never)
            ))
        )
      )
      const next = yield* inTime(Queue.take(reopened))
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
}
