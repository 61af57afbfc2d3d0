import { assert } from "@effect/vitest"
import type { Vitest } from "@effect/vitest"
import { Deferred, Effect, Fiber, Queue } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import {
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

/** Where a group starts, and where it goes on. */
export const offsets = (it: Vitest.MethodsNonLive<EventLog | Leases>): void => {
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
}
