import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import * as Consumer from "../../src/messaging/Consumer.ts"
import { EventLog } from "../../src/messaging/EventLog.ts"
import type { LogRecord, NewRecord, ReadablePartition } from "../../src/messaging/EventLog.ts"
import { partitionOf } from "../../src/messaging/Partitioner.ts"
import {
  contents,
  elapse,
  failed,
  flush,
  lagOf,
  make,
  provide,
  recordsOf,
  refused,
  Script,
  topic
} from "./ConsumerFixtures.ts"
import type { Message } from "./ConsumerFixtures.ts"

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

/** Lets time go on until there is nothing left to do. */
const elapseUntilDone = (log: EventLog["Service"]) =>
  Effect.repeat(Effect.andThen(elapse("500 millis"), Effect.andThen(flush, lagOf(log))), {
    until: (lag) => lag === 0,
    times: 1_000
  })

describe("Consumer through its lives", () => {
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
    { arbitrary: { runs: 150 } }
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
})
