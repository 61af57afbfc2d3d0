import { assert, describe, it, vi } from "@effect/vitest"
import { Clock, Deferred, Effect, Fiber, Option, Queue, References, Schema } from "effect"
import type { Duration, Tracer } from "effect"
import { TestClock } from "effect/testing"
import * as Consumer from "../../src/messaging/Consumer.ts"
import { EventLog, EventLogUnavailable } from "../../src/messaging/EventLog.ts"
import type { LogRecord, NewRecord, ReadablePartition } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"
import { decodeJson, HandlingFailed, MessageRefused } from "../../src/messaging/Handling.ts"
import { partitionOf } from "../../src/messaging/Partitioner.ts"
import { recordSize } from "../../src/messaging/RecordSize.ts"

// Many runs of a property, on a machine that has other things to do.
vi.setConfig({ testTimeout: 240_000 })

const topic = "orders"
const group = "billing"

/** What a handler makes of one message: so many failures first, then success, or a refusal. */
const Script = Schema.Struct({
  key: Schema.Literals(["a", "b", "c"]),
  failures: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })),
  end: Schema.Literals(["succeeds", "is refused", "dies"])
})
type Script = typeof Script.Type

/** A consumer that is stopped and started: how long each of its lives is in milliseconds, and how it ends. */
const Life = Schema.Struct({
  scripts: Schema.Array(Schema.Struct({
    ...Script.fields,
    takes: Schema.Literals(["700 millis", "8 seconds"])
  })).check(Schema.isMaxLength(12)),
  lifetimes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20_000 }))).check(
    Schema.isMaxLength(6)
  ),
  drainTimeout: Schema.Literals(["0 millis", "9 seconds"])
})

const Message = Schema.Struct({ n: Schema.Int, script: Script })
type Message = typeof Message.Type

const encode = Schema.encodeSync(Schema.fromJsonString(Message))
const decode = decodeJson(Message)

const recordOf = (message: Message): NewRecord => ({
  topic,
  key: message.script.key,
  value: new TextEncoder().encode(encode(message)),
  headers: { "event-id": `event-${message.n}` }
})

const recordsOf = (scripts: ReadonlyArray<Script>) => scripts.map((script, n) => recordOf({ n, script }))

interface Attempt {
  readonly n: number
  readonly key: string
  readonly at: number
}

const failed = new HandlingFailed({ code: "busy", message: "try later" })
const refused = new MessageRefused({ code: "nonsense", message: "never" })

/** A handler that follows the scripts and notes when it was called. */
const scripted = () => {
  const attempts: Array<Attempt> = []
  const handle = ({ n, script }: Message) =>
    Effect.gen(function*() {
      attempts.push({ n, key: script.key, at: yield* Clock.currentTimeMillis })
      const count = attempts.filter((attempt) => attempt.n === n).length
      if (count <= script.failures) return yield* failed
      if (script.end === "is refused") return yield* refused
      if (script.end === "dies") return yield* Effect.die(new Error("a bug"))
    })
  return { attempts, handle }
}

const make = Effect.fnUntraced(function*(partitions = 2) {
  const { endLeases, log } = EventLogMemory.make()
  yield* log.ensureTopics([{ name: topic, partitions }])
  const options = {
    group,
    topics: [topic],
    from: "earliest" as const,
    decode,
    retryDelays: ["1 second", "5 seconds"] as const
  }
  return { endLeases, log, options }
})

/** Everything in a topic, by a group of its own. */
const contents = (log: EventLog["Service"], of: string) =>
  Effect.scoped(Effect.gen(function*() {
    const ranges = yield* log.ranges(of)
    const total = ranges.reduce((sum, { end, start }) => sum + end - start, 0)
    const seen = yield* Queue.unbounded<LogRecord>()
    yield* Effect.forkScoped(log.subscribe({ group: "reader", topics: [of], from: "earliest" }, ({ take }) =>
      Effect.forever(Effect.flatMap(take, (batch) =>
        Queue.offerAll(seen, batch)))))
    return total === 0 ? [] : yield* Queue.takeN(seen, total)
  }))

const lagOf = (log: EventLog["Service"]) =>
  Effect.map(log.lag(group), (lags) => lags.reduce((sum, { lag }) => sum + lag, 0))

/** Watches over a log: what is committed must have been settled, or be in another place as well. */
const makeWitness = (log: EventLog["Service"]) => {
  const settled: Array<{ readonly key: string; readonly partition: number; readonly offset: number }> = []
  const names = new Set<string>()
  const hops = new Map<string, number>()
  const violations: Array<string> = []
  const settle = ({ key, offset, partition }: Pick<LogRecord, "key" | "offset" | "partition">) => {
    const name = `${partition}/${offset}`
    if (!names.has(name)) settled.push({ key, partition, offset })
    names.add(name)
  }
  const check = Effect.fnUntraced(function*(of: string, partition: number, end: number) {
    const { records } = yield* log.read({ topic: of, partition, offset: 0, maxRecords: end })
    for (const { headers, offset } of records) {
      const name = `${partition}/${headers["retry-offset"] ?? offset}`
      const copy = Number(headers["retry-hops"] ?? 0)
      if (!names.has(name) && (hops.get(name) ?? 0) <= copy) violations.push(`${of}: committed ${end} before ${name}`)
    }
  }, Effect.orDie)
  const watch = <P extends ReadablePartition>(partition: P): P => ({
    ...partition,
    commit: (offset) => Effect.andThen(check(partition.topic, partition.partition, offset), partition.commit(offset))
  })
  const published = ({ headers, key }: NewRecord) => {
    const dead = headers["dlq-offset"]
    if (dead !== undefined) settle({ key, partition: Number(headers["dlq-partition"]), offset: Number(dead) })
    const moved = headers["retry-offset"]
    if (moved === undefined) return
    // Keys are in the same partition everywhere.
    hops.set(`${partitionOf(key, 2)}/${moved}`, Number(headers["retry-hops"]))
  }
  return {
    settle,
    settled,
    violations,
    log: EventLog.of({
      ...log,
      subscribe: (subscription, onAssigned) =>
        log.subscribe(subscription, (partition) =>
          onAssigned({
            ...watch(partition),
            companions: (topics) => Effect.map(partition.companions(topics), (all) => all.map(watch))
          })),
      publish: (records) => Effect.tap(log.publish(records), () => Effect.sync(() => records.forEach(published)))
    })
  }
}

/** The failures are the point of these tests; their log lines are not. */
const provide = (log: EventLog["Service"]) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(EventLog, log), Effect.provideService(References.MinimumLogLevel, "None"))

/** Lets everything run that can run without time going on. */
const flush = Effect.repeat(Effect.yieldNow, { times: 200 })

const elapse = (duration: Duration.Input) => Effect.andThen(flush, TestClock.adjust(duration))

/** Lets time go on until there is nothing left to do. */
const elapseUntilDone = (log: EventLog["Service"]) =>
  Effect.repeat(Effect.andThen(elapse("500 millis"), Effect.andThen(flush, lagOf(log))), {
    until: (lag) => lag === 0,
    times: 1_000
  })

/** Virtual seconds that are more than enough for any script to end. */
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

  const holdsThroughLife = Effect.fnUntraced(function*({ drainTimeout, lifetimes, scripts }: typeof Life.Type) {
    const { log, options } = yield* make()
    yield* log.publish(recordsOf(scripts))
    const witness = makeWitness(log)
    const attempts = new Map<number, number>()
    const handle = ({ n, script }: Message, record: LogRecord) =>
      Effect.gen(function*() {
        const count = (attempts.get(n) ?? 0) + 1
        attempts.set(n, count)
        yield* Effect.sleep(scripts[n]?.takes ?? 0)
        if (count <= script.failures) return yield* failed
        if (script.end === "is refused") return yield* refused
        witness.settle(record)
      })
    const consumer = Consumer.run({ ...options, handle, drainTimeout }).pipe(provide(witness.log))
    for (const lifetime of lifetimes) {
      const fiber = yield* Effect.forkChild(consumer)
      yield* elapse(lifetime)
      const leaving = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* elapse("10 seconds")
      yield* Fiber.join(leaving)
    }
    yield* Effect.forkScoped(consumer)
    yield* elapseUntilDone(log)
    assert.deepStrictEqual(witness.violations, [])
    assert.strictEqual(witness.settled.length, scripts.length)
    for (const offsets of Map.groupBy(witness.settled, ({ key }) => key).values()) {
      const order = offsets.map(({ offset }) => offset)
      assert.deepStrictEqual(order, order.toSorted((a, b) => a - b))
    }
    assert.strictEqual(yield* lagOf(log), 0)
    const letters = yield* contents(log, `${topic}.dlq`)
    if (drainTimeout !== "0 millis") {
      assert.strictEqual(new Set(letters.map(({ headers }) => headers["event-id"])).size, letters.length)
    }
  })

  it.effect.prop(
    "law 55, law 56, law 57: stopped and started at any time, it commits only what is done, and keys stay in order",
    [Life],
    ([life]) => holdsThroughLife(life),
    { arbitrary: { runs: 300 } }
  )

  it.effect("law 55: nothing waits behind a message that is a dead letter already", () =>
    holdsThroughLife({
      // Stopped when the first of each key are dead letters and their last places are not committed.
      scripts: [
        { key: "a", failures: 3, end: "succeeds", takes: "700 millis" },
        { key: "c", failures: 4, end: "succeeds", takes: "700 millis" },
        { key: "a", failures: 2, end: "is refused", takes: "700 millis" },
        { key: "c", failures: 0, end: "is refused", takes: "700 millis" }
      ],
      lifetimes: [8_200],
      drainTimeout: "0 millis"
    }))

  it.effect("law 56: a dead letter is remembered while an earlier copy of its message can come again", () =>
    holdsThroughLife({
      // A message of another key keeps the first retry topic from being committed.
      scripts: [
        { key: "a", failures: 1, end: "succeeds", takes: "700 millis" },
        { key: "a", failures: 0, end: "is refused", takes: "8 seconds" },
        { key: "c", failures: 2, end: "is refused", takes: "700 millis" },
        { key: "a", failures: 0, end: "is refused", takes: "700 millis" }
      ],
      lifetimes: [7_400],
      drainTimeout: "9 seconds"
    }))

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
