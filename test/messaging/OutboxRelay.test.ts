import { assert, describe, it } from "@effect/vitest"
import { Array, Clock, Duration, Effect, Fiber, Latch, References, Schema } from "effect"
import { TestClock } from "effect/testing"
import { EventLog, EventLogUnavailable, RecordTooLarge, UnknownTopic } from "../../src/messaging/EventLog.ts"
import type { NewRecord } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"
import type { OutboxMessage } from "../../src/messaging/Outbox.ts"
import * as OutboxRelay from "../../src/messaging/OutboxRelay.ts"
import { OutboxStore } from "../../src/messaging/OutboxStore.ts"

const message = (topic: string, key: string, n: number): OutboxMessage => ({
  id: `id-${n}`,
  topic,
  key,
  headers: {},
  payload: String(n)
})

/** A store without a database: one relay at a time, messages removed when `publish` succeeds. */
const makeStore = () => {
  const messages: Array<OutboxMessage> = []
  const changes = Latch.makeUnsafe(true)
  const looks: Array<number> = []
  const batches: Array<number> = []
  const store = OutboxStore.of({
    relay: ({ maxMessages, withheld }, publish) =>
      Effect.gen(function*() {
        looks.push(yield* Clock.currentTimeMillis)
        const batch = messages
          .filter(({ key, topic }) =>
            !withheld.topics.includes(topic) && !withheld.keys.some((one) => one.topic === topic && one.key === key)
          )
          .slice(0, maxMessages)
        if (!Array.isReadonlyArrayNonEmpty(batch)) return 0
        batches.push(batch.length)
        yield* publish(batch)
        for (const one of batch) messages.splice(messages.indexOf(one), 1)
        return batch.length
      }),
    changes: Effect.succeed(changes),
    list: () => Effect.succeed([]),
    backlog: Effect.sync(() => ({ count: messages.length, oldestAge: Duration.zero }))
  })
  const append = (...more: ReadonlyArray<OutboxMessage>) => {
    messages.push(...more)
    changes.openUnsafe()
  }
  return { append, batches, looks, messages, store }
}

/** A log that notes what it was given, and asks `refuse` first. */
const makeLog = (
  refuse: (records: ReadonlyArray<NewRecord>) => Effect.Effect<
    void,
    EventLogUnavailable | UnknownTopic | RecordTooLarge
  >
) => {
  const published: Array<string> = []
  const log = EventLog.of({
    ...EventLogMemory.make().log,
    publish: (records) =>
      Effect.map(refuse(records), () => {
        published.push(...records.map(({ headers, key }) => `${key}:${headers["event-id"]}`))
      })
  })
  return { log, published }
}

const flush = Effect.repeat(Effect.yieldNow, { times: 50 })
const elapse = (duration: Duration.Input) => Effect.andThen(flush, TestClock.adjust(duration))

const start = (store: OutboxStore["Service"], log: EventLog["Service"], options?: OutboxRelay.OutboxRelayOptions) =>
  OutboxRelay.run(options).pipe(
    Effect.provideService(OutboxStore, store),
    Effect.provideService(EventLog, log),
    Effect.provideService(References.MinimumLogLevel, "None"),
    Effect.forkChild
  )

describe("OutboxRelay", () => {
  it.effect("publishes what is there in batches, is woken for more, and looks only now and then by itself", () =>
    Effect.gen(function*() {
      const { append, batches, looks, messages, store } = makeStore()
      const { log, published } = makeLog(() => Effect.void)
      append(...Array.makeBy(7, (n) => message("t", "k", n)))
      const relay = yield* start(store, log, { maxMessages: 3, poll: "5 seconds" })
      yield* flush
      assert.deepStrictEqual(batches, [3, 3, 1])
      append(message("t", "k", 7))
      yield* flush
      assert.deepStrictEqual(published, Array.makeBy(8, (n) => `k:id-${n}`))
      assert.deepStrictEqual(messages, [])
      const before = looks.length
      yield* elapse("1 minute")
      assert.strictEqual(looks.length - before, 12)
      yield* Fiber.interrupt(relay)
    }))

  const Outage = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3_600_000 }))

  it.effect.prop(
    "law 53: waits out an outage of any length, and then drains in order with bounded batches",
    [Outage, Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 60 }))],
    ([outage, count]) =>
      Effect.gen(function*() {
        const { append, batches, looks, messages, store } = makeStore()
        const { log, published } = makeLog(() =>
          Effect.flatMap(Clock.currentTimeMillis, (now) =>
            now < outage ? new EventLogUnavailable({ operation: "publish", cause: "away" }) : Effect.void)
        )
        append(...Array.makeBy(count, (n) =>
          message("t", `k${n % 3}`, n)))
        const relay = yield* start(store, log, { maxMessages: 10 })
        yield* elapse(outage - 1)
        assert.deepStrictEqual(published, [])
        assert.strictEqual(messages.length, count)
        // 100 ms doubled up to 10 s: it takes ten looks to the cap, and one every 10 s from then on.
        assert.isAtMost(looks.length, 10 + outage / 10_000)
        const gaps = looks.slice(1).map((at, index) => at - (looks[index] ?? 0))
        assert.isAtMost(Math.max(0, ...gaps), 10_000)
        yield* elapse("10 seconds")
        assert.deepStrictEqual(published, Array.makeBy(count, (n) => `k${n % 3}:id-${n}`))
        assert.isAtMost(Math.max(...batches), 10)
        yield* Fiber.interrupt(relay)
      })
  )

  it.effect("messages of a topic that does not exist wait for it, and hold up no others", () =>
    Effect.gen(function*() {
      const { append, messages, store } = makeStore()
      let exists = false
      const { log, published } = makeLog((records) => {
        const unknown = records.find(({ topic }) => topic === "later")
        return unknown === undefined || exists ? Effect.void : new UnknownTopic({ topic: "later" })
      })
      append(message("t", "k", 0), message("later", "k", 1), message("t", "k", 2), message("later", "k", 3))
      const relay = yield* start(store, log, { withhold: "30 seconds" })
      yield* elapse("20 seconds")
      assert.deepStrictEqual(published, ["k:id-0", "k:id-2"])
      exists = true
      yield* elapse("20 seconds")
      assert.deepStrictEqual(published, ["k:id-0", "k:id-2", "k:id-1", "k:id-3"])
      assert.deepStrictEqual(messages, [])
      yield* Fiber.interrupt(relay)
    }))

  it.effect("a message that the log finds too large holds up its own key only, in order", () =>
    Effect.gen(function*() {
      const { append, messages, store } = makeStore()
      let limit = 1
      const { log, published } = makeLog((records) => {
        const large = records.find(({ value }) => value.byteLength > limit)
        return large === undefined ? Effect.void : new RecordTooLarge({ topic: "t", key: large.key, size: 2, limit })
      })
      append(message("t", "a", 10), message("t", "b", 1), message("t", "a", 2), message("t", "c", 3))
      const relay = yield* start(store, log, { withhold: "30 seconds" })
      yield* elapse("20 seconds")
      assert.deepStrictEqual(published, ["b:id-1", "c:id-3"])
      assert.strictEqual(messages.length, 2)
      limit = 2
      yield* elapse("20 seconds")
      assert.deepStrictEqual(published, ["b:id-1", "c:id-3", "a:id-10", "a:id-2"])
      yield* Fiber.interrupt(relay)
    }))
})
