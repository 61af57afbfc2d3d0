import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { SqlClient } from "effect/sql"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import { Outbox } from "../../../src/messaging/Outbox.ts"
import * as OutboxRelay from "../../../src/messaging/OutboxRelay.ts"
import { describeWithKafka } from "../../support/Kafka.ts"
import * as Durations from "./Durations.ts"
import * as Ledger from "./Ledger.ts"
import * as Participants from "./Participants.ts"
import * as Processes from "./Processes.ts"
import * as Scenario from "./Scenario.ts"

const relay = Effect.forkScoped(OutboxRelay.run({ poll: "500 millis" }))

/** Bytes that are no event, at the head of a key that has a writer. */
const poison = Effect.fnUntraced(function*(topic: string, n: number) {
  const outbox = yield* Outbox
  yield* outbox.append([{
    id: `00000000-0000-7000-8000-ffff0000000${n}`,
    topic,
    key: `key-${n}`,
    headers: {},
    payload: new Uint8Array([0xff, n])
  }])
})

const deadLetters = Effect.fnUntraced(function*(topic: string) {
  const log = yield* EventLog
  const ids: Array<string> = []
  for (const { end, partition } of yield* log.ranges(`${topic}.dlq`)) {
    for (let offset = 0; offset < end;) {
      const { next, records } = yield* log.read({ topic: `${topic}.dlq`, partition, offset })
      ids.push(...records.map(({ headers }) => headers["event-id"] ?? ""))
      offset = next
    }
  }
  return ids.toSorted()
})

const tests = (log: Scenario.Log) => {
  it.live("law 57: killed after the effect and before the commit, again and again", () =>
    Scenario.at(
      { log },
      Effect.fnUntraced(function*(place) {
        yield* relay
        const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 6, pauseMillis: 10 }))
        for (const count of [1, 30, 150]) {
          const consumer = yield* Processes.start("consumer", place, count)
          yield* consumer.held
          yield* consumer.kill
        }
        yield* Processes.start("consumer", place)
        yield* Ledger.moreEffects(200)
        yield* Fiber.interrupt(writing)
        assert.isAbove(yield* Ledger.settle, 300)
      })
    ))

  it.live("law 57: a rebalance every second under load", () =>
    Scenario.at(
      { log },
      Effect.fnUntraced(function*(place) {
        yield* relay
        yield* Processes.start("consumer", place)
        const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 8, pauseMillis: 10 }))
        for (let round = 0; round < Durations.rebalances; round++) {
          const guest = yield* Effect.forkScoped(Participants.consume(place))
          yield* Effect.sleep("1 second")
          yield* Fiber.interrupt(guest)
        }
        yield* Fiber.interrupt(writing)
        assert.isAbove(yield* Ledger.settle, Durations.rebalances)
      })
    ), Durations.rebalances * 3_000 + 120_000)

  it.live("law 55, law 56: poison at the head of keys: one dead letter each, and the keys go on", () =>
    Scenario.at(
      { log },
      Effect.fnUntraced(function*(place) {
        yield* relay
        yield* Effect.forEach([1, 2, 3], (n) => poison(place.topic, n))
        const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 6, pauseMillis: 10 }))
        const consumer = yield* Processes.start("consumer", place, 60)
        yield* consumer.held
        yield* Effect.forEach([4, 5, 6], (n) => poison(place.topic, n))
        yield* consumer.kill
        yield* Processes.start("consumer", place)
        yield* Ledger.moreEffects(200)
        yield* Fiber.interrupt(writing)
        yield* Ledger.settle
        const sql = yield* SqlClient.SqlClient
        const keys = yield* sql<{ key: string }>`SELECT DISTINCT key FROM effects ORDER BY key`
        assert.strictEqual(keys.length, 6)
        assert.deepStrictEqual(
          yield* deadLetters(place.topic),
          [1, 2, 3, 4, 5, 6].map((n) => `00000000-0000-7000-8000-ffff0000000${n}`)
        )
      })
    ))
}

describe("consumers of the log in PostgreSQL", () => tests("postgres"))
describeWithKafka("consumers of Kafka", () => tests("kafka"))
