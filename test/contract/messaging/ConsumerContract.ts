/** What consumers keep on every adapter of `EventLog`, on the live clock. */
import { assert, layer as shareLayer } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Layer, Random, References } from "effect"
import * as Consumer from "../../../src/messaging/Consumer.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { LogRecord, NewRecord } from "../../../src/messaging/EventLog.ts"
import { HandlingFailed, MessageRefused, MessageSkipped } from "../../../src/messaging/Handling.ts"
import { partitionOf } from "../../../src/messaging/Partitioner.ts"
import { eventually } from "./EventLogFixtures.ts"

const partitions = 2
/** Keys of one partition. */
const [failing, other, third] = Array.from({ length: 50 }, (_, n) => `key-${n}`).filter((key) =>
  partitionOf(key, partitions) === 0
)

const text = (record: { readonly value: Uint8Array }) => new TextDecoder().decode(record.value)

const recordOf = (topic: string, key = "", value = ""): NewRecord => ({
  topic,
  key,
  value: new TextEncoder().encode(value),
  headers: { "event-id": `id-${value}` }
})

const uniqueTopic = Effect.gen(function*() {
  const log = yield* EventLog
  const topic = `topic-${yield* Random.nextInt}`
  yield* log.ensureTopics([{ name: topic, partitions, isExact: true }])
  return topic
})

const busy = new HandlingFailed({ code: "busy", message: "try later" })

interface Attempt {
  readonly value: string
  readonly at: number
}

/** A handler that notes its attempts; `outcome` says how the `count`th attempt at a value ends. */
const noting = (outcome: (value: string, count: number) => Effect.Effect<void, HandlingFailed | MessageRefused>) => {
  const attempts: Array<Attempt> = []
  const handled: Array<string> = []
  const handle = (value: string) =>
    Effect.gen(function*() {
      attempts.push({ value, at: yield* Clock.currentTimeMillis })
      yield* outcome(value, attempts.filter((attempt) => attempt.value === value).length)
      handled.push(value)
    })
  return { attempts, handled, handle }
}

const delays = [300, 300, 600]

const consumerOf = (
  topic: string,
  handle: (value: string) => Effect.Effect<void, HandlingFailed | MessageRefused>,
  retryDelays = delays
) =>
  Consumer.run({
    group: `group-of-${topic}`,
    topics: [topic],
    from: "earliest",
    decode: (record) => Effect.succeed(text(record)),
    handle,
    retryDelays
  })

const lagOf = Effect.fnUntraced(function*(topic: string) {
  const log = yield* EventLog
  return (yield* log.lag(`group-of-${topic}`)).reduce((sum, { lag }) => sum + lag, 0)
})

const contents = Effect.fnUntraced(function*(topic: string) {
  const log = yield* EventLog
  const found: Array<LogRecord> = []
  for (const { end, partition } of yield* log.ranges(topic)) {
    for (let offset = 0; offset < end;) {
      const { next, records } = yield* log.read({ topic, partition, offset })
      found.push(...records)
      offset = next
    }
  }
  return found
})

const isDone = (topic: string, handled: ReadonlyArray<string>, count: number) =>
  Effect.gen(function*() {
    yield* eventually(`${count} are handled`, Effect.sync(() => new Set(handled).size), (size) => size === count)
    yield* eventually("all is committed", lagOf(topic), (lag) => lag === 0)
  })

export const consumerContract = <E>(name: string, adapter: Layer.Layer<EventLog, E>) =>
  shareLayer(
    // The failures are the point of these tests; their log lines are not.
    Layer.merge(adapter, Layer.succeed(References.MinimumLogLevel, "None")),
    { excludeTestServices: true, timeout: "2 minutes" }
  )(name, (it) => {
    it.effect("law 55, law 56: a failing message waits apart, its key behind it, and ends as one dead letter", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic
        const othersAreHandled = yield* Deferred.make<void>()
        const { attempts, handle, handled } = noting((value, count) => {
          if (value !== "a1") return Effect.void
          // However late the others come, it is not given up before they are handled
          return count === 3 ? Effect.andThen(Deferred.await(othersAreHandled), busy) : busy
        })
        yield* Effect.forkScoped(consumerOf(topic, handle))
        yield* log.publish([
          recordOf(topic, failing, "a1"),
          recordOf(topic, failing, "a2"),
          recordOf(topic, other, "b1"),
          recordOf(topic, failing, "a3")
        ])
        yield* eventually("a1 is tried", Effect.sync(() => attempts.length), (count) => count >= 2)
        yield* log.publish([recordOf(topic, other, "b2"), recordOf(topic, failing, "a4"), recordOf(topic, third, "c1")])
        yield* eventually("the others are handled", Effect.sync(() => handled.length), (count) => count === 3)
        assert.sameMembers([...handled], ["b1", "b2", "c1"])
        assert.isBelow(handled.indexOf("b1"), handled.indexOf("b2"))
        yield* Deferred.succeed(othersAreHandled, undefined)
        yield* isDone(topic, handled, 6)
        assert.deepStrictEqual(handled.filter((value) => value.startsWith("a")), ["a2", "a3", "a4"])

        const times = attempts.filter(({ value }) => value === "a1").map(({ at }) => at)
        assert.strictEqual(times.length, delays.length + 1)
        for (const [index, delay] of delays.entries()) {
          // The log's clock and this one round.
          assert.isAtLeast((times[index + 1] ?? 0) - (times[index] ?? 0), delay - 5)
        }
        const letters = yield* contents(`${topic}.dlq`)
        assert.deepStrictEqual(
          letters.map(({ headers, key, value }) => [
            key,
            text({ value }),
            headers["event-id"],
            headers["dlq-error"],
            headers["dlq-attempts"],
            headers["dlq-topic"],
            headers["dlq-offset"]
          ]),
          [[failing, "a1", "id-a1", "busy", "4", topic, "0"]]
        )
        assert.isUndefined(letters[0]?.headers["retry-offset"])
      }))

    it.effect("law 53: a dead letter of another partition, from when there were fewer, stands for no message of this one", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic
        const group = `group-of-${topic}`
        yield* log.ensureTopics([{ name: `${topic}.dlq`, partitions, isExact: true }])
        const letter = { ...recordOf(`${topic}.dlq`, failing, "of another partition") }
        const headers = { "dlq-group": group, "dlq-topic": topic, "dlq-offset": "0" }
        yield* log.publish([
          { ...letter, headers: { ...letter.headers, ...headers, "dlq-partition": "1" } },
          recordOf(topic, failing, "a1")
        ])
        const { handle, handled } = noting(() => Effect.void)
        yield* Effect.forkScoped(consumerOf(topic, handle))
        yield* isDone(topic, handled, 1)
        assert.deepStrictEqual(handled, ["a1"])
      }))

    it.effect("law 55, law 57: keys stay held when the consumer restarts and when partitions change hands", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic
        const { attempts, handle, handled } = noting((value, count) => value === "a1" && count < 3 ? busy : Effect.void)
        const first = yield* Effect.forkScoped(consumerOf(topic, handle))
        yield* log.publish([recordOf(topic, failing, "a1"), recordOf(topic, failing, "a2")])
        yield* eventually("a1 is tried", Effect.sync(() => attempts.length), (count) => count >= 1)
        yield* Fiber.interrupt(first)
        yield* log.publish([recordOf(topic, failing, "a3"), recordOf(topic, other, "b1")])
        const second = yield* Effect.forkScoped(consumerOf(topic, handle))
        yield* eventually("it goes on", Effect.sync(() => handled.length), (count) => count >= 1)
        yield* Effect.forkScoped(consumerOf(topic, handle))
        yield* log.publish([recordOf(topic, failing, "a4")])
        yield* Fiber.interrupt(second)
        yield* isDone(topic, handled, 5)
        assert.deepStrictEqual(handled.filter((value) => value.startsWith("a")), ["a1", "a2", "a3", "a4"])
        assert.strictEqual(attempts.filter(({ value }) => value === "a1").length, 3)
        assert.deepStrictEqual(yield* contents(`${topic}.dlq`), [])
      }))

    it.effect("law 55, law 56, law 57: members come and go while messages fail: all are settled, keys in order", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic
        const total = 240
        const keys = 8
        const { handle, handled } = noting((value, count) => {
          const n = Number(value.split(":")[1])
          if (n % 11 === 5) return busy
          return n % 7 === 3 && count < 3 ? busy : Effect.void
        })
        const slow = (value: string) => Effect.andThen(Effect.sleep("5 millis"), handle(value))
        yield* Effect.forkScoped(consumerOf(topic, slow, [50, 50, 100]))
        yield* Effect.forkScoped(Effect.forEach(
          Array.from({ length: total / keys }, (_, n) => n),
          (n) =>
            Effect.delay(
              log.publish(Array.from({ length: keys }, (_, k) => recordOf(topic, `key-${k}`, `${k}:${n}`))),
              "20 millis"
            )
        ))
        yield* Effect.forkScoped(Effect.repeat(
          Effect.gen(function*() {
            const guest = yield* Effect.forkScoped(consumerOf(topic, slow, [50, 50, 100]))
            yield* Effect.sleep("700 millis")
            yield* Fiber.interrupt(guest)
          }),
          { times: 5 }
        ))
        const dead = Array.from({ length: total / keys }, (_, n) => n).filter((n) => n % 11 === 5).length * keys
        yield* isDone(topic, handled, total - dead)
        for (const [key, values] of Map.groupBy(new Set(handled), (value) => value.split(":")[0])) {
          const numbers = [...values].map((value) => Number(value.split(":")[1]))
          assert.deepStrictEqual(numbers, numbers.toSorted((a, b) => a - b), `order along ${key}`)
        }
        const letters = yield* contents(`${topic}.dlq`)
        assert.strictEqual(letters.length, dead)
        assert.strictEqual(new Set(letters.map(text)).size, dead)
      }))

    it.effect("law 56: what is refused is dead-lettered at once and what is skipped is not; a closed gate holds all", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic
        const handled: Array<string> = []
        yield* log.publish(["skip", "refuse", "fine"].map((value) => recordOf(topic, failing, value)))
        yield* Effect.forkScoped(Consumer.run({
          group: `group-of-${topic}`,
          topics: [topic],
          from: "earliest",
          decode: (record) => {
            const value = text(record)
            if (value === "skip") return new MessageSkipped({ code: "unknown_type", message: "not for us" })
            return value === "refuse"
              ? new MessageRefused({ code: "unknown_version", message: "version 7" })
              : Effect.succeed(value)
          },
          handle: (value) => Effect.sync(() => handled.push(value)),
          retryDelays: []
        }))
        yield* isDone(topic, handled, 1)
        const letters = yield* contents(`${topic}.dlq`)
        assert.deepStrictEqual(letters.map(({ headers }) => headers["dlq-error"]), ["unknown_version"])
      }))
  })
