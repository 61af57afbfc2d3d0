import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Option, Schema } from "effect"
import type { Tracer } from "effect"
import * as Consumer from "../../src/messaging/Consumer.ts"
import { EventLog, EventLogUnavailable } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"
import { MessageRefused } from "../../src/messaging/Handling.ts"
import { recordSize } from "../../src/messaging/RecordSize.ts"
import {
  contents,
  elapse,
  flush,
  group,
  lagOf,
  make,
  provide,
  recordOf,
  recordsOf,
  refused,
  Script,
  scripted,
  topic
} from "./ConsumerFixtures.ts"
import type { Attempt, Message } from "./ConsumerFixtures.ts"

/** Virtual time that are more than enough for any script to end. */
const longEnough = "10 minutes"

describe("Consumer", () => {
  it.effect.prop(
    "law 55, law 56: each message is attempted as configured, delays only its own key, and leaves at most one dead letter",
    [Schema.Array(Script).check(Schema.isMaxLength(12))],
    ([scripts]) =>
      Effect.gen(function*() {
        const { log, options } = yield* make()
        const { attempts, handle } = scripted()
        yield* log.publish(recordsOf(scripts))
        yield* Effect.forkScoped(Consumer.run({ ...options, handle }).pipe(provide(log)))
        yield* elapse(longEnough)

        const delays = [1_000, 5_000]
        // Keys run side by side, so the clock of a key counts only its own waits.
        const clocks = new Map<string, number>()
        const expected = scripts.flatMap(({ end, failures, key }, n) => {
          const isRefused = end === "is refused" && failures <= 2
          const retries = isRefused ? failures : end === "succeeds" ? Math.min(failures, 2) : 2
          return Array.from({ length: retries + 1 }, (_, index): Attempt => {
            const at = (clocks.get(key) ?? 0) + (index === 0 ? 0 : delays[index - 1] ?? 0)
            clocks.set(key, at)
            return { n, key, at }
          })
        })
        const byKey = (all: ReadonlyArray<Attempt>) => Object.fromEntries(Map.groupBy(all, ({ key }) => key))
        assert.deepStrictEqual(byKey(attempts), byKey(expected))

        const letters = yield* contents(log, `${topic}.dlq`)
        const dead = scripts.flatMap(({ end, failures }, n) => {
          if (end === "is refused" && failures <= 2) return [[`event-${n}`, "nonsense", String(failures + 1)]]
          if (failures > 2) return [[`event-${n}`, "busy", "3"]]
          return end === "dies" ? [[`event-${n}`, "defect", "3"]] : []
        })
        assert.deepStrictEqual(
          letters.map(({ headers }) => [headers["event-id"], headers["dlq-error"], headers["dlq-attempts"]]).toSorted(),
          dead.toSorted()
        )
        assert.strictEqual(yield* lagOf(log), 0)
      })
  )

  it.effect("law 56: poison goes to the dead letters at once, byte by byte, and the key goes on", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      const { attempts, handle } = scripted()
      const poison: ReadonlyArray<Uint8Array> = [
        new Uint8Array([0xff, 0xfe, 0x00]),
        new TextEncoder().encode("{"),
        new TextEncoder().encode(`{"n":"one"}`),
        new Uint8Array()
      ]
      const ok: Script = { key: "a", failures: 0, end: "succeeds" }
      yield* log.publish([
        ...poison.map((value, index) => ({
          topic,
          key: "a",
          value,
          headers: { "event-id": `p${index}`, other: "kept" }
        })),
        recordOf({ n: 7, script: ok })
      ])
      yield* Effect.forkScoped(Consumer.run({ ...options, handle }).pipe(provide(log)))
      yield* flush
      assert.deepStrictEqual(attempts, [{ n: 7, key: "a", at: 0 }])
      const letters = yield* contents(log, `${topic}.dlq`)
      assert.deepStrictEqual(letters.map(({ value }) => value), poison)
      assert.deepStrictEqual(letters.map(({ key }) => key), ["a", "a", "a", "a"])
      for (const [offset, { headers }] of letters.entries()) {
        assert.isNotEmpty(headers["dlq-message"])
        assert.match(headers["dlq-stack"] ?? "", /^(\w+ Handling\.ts:\d+\n?)+$/)
        assert.match(headers["dlq-digest"] ?? "", /^[0-9a-f]{8}$/)
        assert.deepStrictEqual({ ...headers, "dlq-message": "", "dlq-stack": "", "dlq-digest": "" }, {
          "event-id": `p${offset}`,
          other: "kept",
          "dlq-error": "undecodable",
          "dlq-message": "",
          "dlq-stack": "",
          "dlq-digest": "",
          "dlq-group": group,
          "dlq-topic": topic,
          "dlq-partition": "0",
          "dlq-offset": String(offset),
          "dlq-attempts": "1",
          "dlq-at": "1970-01-01T00:00:00.000Z"
        })
      }
    }))

  it.effect("law 56: a dead letter that can't be written at first is written once, and only then committed", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      yield* log.publish(recordsOf([{ key: "a", failures: 0, end: "is refused" }]))
      let refusals = 3
      const flaky = EventLog.of({
        ...log,
        publish: (records) =>
          Effect.suspend(() =>
            refusals-- > 0 ? new EventLogUnavailable({ operation: "publish", cause: "away" }) : log.publish(records)
          )
      })
      yield* Effect.forkScoped(Consumer.run({ ...options, handle: () => refused }).pipe(provide(flaky)))
      yield* flush
      assert.strictEqual(yield* lagOf(log), 1)
      yield* elapse("1 minute")
      assert.strictEqual((yield* contents(log, `${topic}.dlq`)).length, 1)
      assert.strictEqual(yield* lagOf(log), 0)
    }))

  it.effect("a dead letter that exceeds the log's limit is written without its value", () =>
    Effect.gen(function*() {
      const { log } = EventLogMemory.make({ maxRecordBytes: 2_000 })
      yield* log.ensureTopics([{ name: topic, partitions: 1 }])
      yield* log.publish([{ topic, key: "a", value: new Uint8Array(1_990), headers: {} }])
      yield* Effect.forkScoped(
        Consumer.run({
          group: "g",
          topics: [topic],
          from: "earliest",
          decode: () => new MessageRefused({ code: "x", message: "" }),
          handle: () => Effect.void,
          retryDelays: []
        }).pipe(provide(log))
      )
      yield* elapse("1 minute")
      const [letter] = yield* contents(log, `${topic}.dlq`)
      assert.strictEqual(letter?.headers["dlq-value"], "omitted")
      assert.strictEqual(letter?.value.byteLength, 0)
    }))

  it.effect("law 57: what has begun is finished and committed when the consumer is stopped", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      yield* log.publish(recordsOf([
        { key: "a", failures: 0, end: "succeeds" },
        { key: "b", failures: 0, end: "succeeds" },
        { key: "a", failures: 0, end: "succeeds" }
      ]))
      const history: Array<string> = []
      const handle = ({ n }: Message) =>
        Effect.sync(() => history.push(`begins ${n}`)).pipe(
          Effect.andThen(Effect.sleep("5 seconds")),
          Effect.andThen(Effect.sync(() => history.push(`ends ${n}`)))
        )
      const fiber = yield* Effect.forkChild(Consumer.run({ ...options, handle }).pipe(provide(log)))
      yield* elapse("1 second")
      const leaving = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* elapse("4 seconds")
      yield* Fiber.join(leaving)
      assert.deepStrictEqual(history, ["begins 0", "begins 1", "ends 0", "ends 1"])
      assert.strictEqual(yield* lagOf(log), 1)
    }))

  it.effect("law 57: a handler that does not end in time is interrupted, and its message is delivered again", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      yield* log.publish(recordsOf([{ key: "a", failures: 0, end: "succeeds" }]))
      let interrupted = 0
      const stuck = Consumer.run({
        ...options,
        drainTimeout: "2 seconds",
        handle: () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      }).pipe(provide(log))
      const fiber = yield* Effect.forkChild(stuck)
      yield* elapse("1 minute")
      const leaving = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* elapse("2 seconds")
      yield* Fiber.join(leaving)
      assert.strictEqual(interrupted, 1)
      assert.strictEqual(yield* lagOf(log), 1)
      assert.deepStrictEqual(yield* contents(log, `${topic}.dlq`), [])
      const { attempts, handle } = scripted()
      yield* Effect.forkScoped(Consumer.run({ ...options, handle }).pipe(provide(log)))
      yield* flush
      assert.deepStrictEqual(attempts.map(({ n }) => n), [0])
    }))

  it.effect("law 57: a handler may work for longer than the lease", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      yield* log.publish(recordsOf([{ key: "a", failures: 0, end: "succeeds" }]))
      let begun = 0
      const handle = () => Effect.andThen(Effect.sync(() => begun++), Effect.sleep("10 minutes"))
      yield* Effect.forkScoped(Consumer.run({ ...options, handle }).pipe(provide(log)))
      yield* Effect.forkScoped(Consumer.run({ ...options, handle }).pipe(provide(log)))
      yield* elapse("11 minutes")
      assert.strictEqual(begun, 1)
      assert.strictEqual(yield* lagOf(log), 0)
    }))

  it.effect("law 57: who leaves keeps its partition while it finishes, for longer than the lease", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      yield* log.publish(recordsOf([{ key: "a", failures: 0, end: "succeeds" }]))
      let begun = 0
      const consumer = Consumer.run({
        ...options,
        drainTimeout: "2 minutes",
        handle: () => Effect.andThen(Effect.sync(() => begun++), Effect.sleep("1 minute"))
      }).pipe(provide(log))
      const first = yield* Effect.forkChild(consumer)
      yield* flush
      yield* Effect.forkScoped(consumer)
      yield* elapse("1 second")
      const leaving = yield* Effect.forkChild(Fiber.interrupt(first))
      yield* elapse("59 seconds")
      yield* Fiber.join(leaving)
      yield* elapse("1 minute")
      assert.strictEqual(begun, 1)
      assert.strictEqual(yield* lagOf(log), 0)
    }))

  it.effect("law 57: work on a lost partition is stopped, and its successor does it", () =>
    Effect.gen(function*() {
      const { endLeases, log, options } = yield* make(1)
      yield* log.publish(recordsOf([
        { key: "a", failures: 0, end: "succeeds" },
        { key: "b", failures: 0, end: "succeeds" }
      ]))
      const started = yield* Deferred.make<void>()
      let stopped = 0
      const first = Consumer.run({
        ...options,
        handle: ({ script }: Message) =>
          script.key === "a" ? Deferred.await(started) : Effect.onInterrupt(
            Effect.never,
            () => Effect.sync(() => stopped++)
          )
      }).pipe(provide(log))
      yield* Effect.forkScoped(first)
      yield* flush
      yield* endLeases(group)
      const { attempts, handle } = scripted()
      yield* Effect.forkScoped(Consumer.run({ ...options, handle }).pipe(provide(log)))
      yield* Deferred.succeed(started, undefined)
      yield* elapse("30 seconds")
      assert.strictEqual(stopped, 1)
      assert.deepStrictEqual(attempts.map(({ n }) => n).toSorted(), [0, 1])
      assert.strictEqual(yield* lagOf(log), 0)
    }))

  it.effect("law 55: a slow key fills a bounded buffer, and nothing beyond it is taken", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      const scripts = Array.from({ length: 500 }, (): Script => ({ key: "a", failures: 0, end: "succeeds" }))
      const records = recordsOf(scripts)
      yield* log.publish(records)
      const maxBufferedBytes = 20_000
      let taken = 0
      const watched = EventLog.of({
        ...log,
        subscribe: (subscription, onAssigned) =>
          log.subscribe(subscription, (partition) =>
            onAssigned({
              ...partition,
              take: Effect.tap(partition.take, (batch) => Effect.sync(() => taken += batch.length))
            }))
      })
      let handled = 0
      yield* Effect.forkScoped(
        Consumer.run({
          ...options,
          maxBatchRecords: 5,
          maxBufferedBytes,
          handle: () => Effect.andThen(Effect.sleep("1 second"), Effect.sync(() => handled++))
        }).pipe(provide(watched))
      )
      const [first] = records
      const bound = maxBufferedBytes / (first === undefined ? 1 : recordSize(first)) + 2 * 5
      yield* elapse("50 seconds")
      assert.strictEqual(handled, 50)
      assert.isAtMost(taken - handled, bound)
      yield* elapse("450 seconds")
      assert.strictEqual(handled, 500)
    }))

  it.effect("runs no more handlers at once than configured", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(2)
      yield* log.publish(Array.from({ length: 40 }, (_, n) => ({
        ...recordOf({ n, script: { key: "a", failures: 0, end: "succeeds" } }),
        key: `key-${n}`
      })))
      let running = 0
      let most = 0
      const handle = () =>
        Effect.acquireUseRelease(
          Effect.sync(() => {
            most = Math.max(most, ++running)
          }),
          () => Effect.sleep("1 second"),
          () => Effect.sync(() => running--)
        )
      yield* Effect.forkScoped(Consumer.run({ ...options, concurrency: 4, handle }).pipe(provide(log)))
      yield* elapse("10 seconds")
      assert.strictEqual(most, 4)
      yield* elapse("1 second")
      assert.strictEqual(yield* lagOf(log), 0)
    }))

  it.effect("a handler's span continues the trace of the message", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      const traceId = "0af7651916cd43dd8448eb211c80319c"
      yield* log.publish([{
        ...recordOf({ n: 0, script: { key: "a", failures: 0, end: "succeeds" } }),
        headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` }
      }])
      const span = yield* Deferred.make<Tracer.Span>()
      const handle = () =>
        Effect.flatMap(Effect.orDie(Effect.currentSpan), (current) => Deferred.succeed(span, current))
      yield* Effect.forkScoped(
        Consumer.run({ ...options, handle: () => Effect.asVoid(handle()) }).pipe(provide(log))
      )
      const { kind, name, parent, traceId: continued } = yield* Deferred.await(span)
      assert.deepStrictEqual([name, kind, continued], [`process ${topic}`, "consumer", traceId])
      assert.strictEqual(Option.getOrThrow(parent).spanId, "b7ad6b7169203331")
    }))

  it.effect("names a topic that does not exist", () =>
    Effect.gen(function*() {
      const { log, options } = yield* make(1)
      const run = Consumer.run({ ...options, topics: ["nowhere"], handle: () => Effect.void }).pipe(provide(log))
      assert.strictEqual((yield* Effect.flip(run)).topic, "nowhere")
    }))
})
