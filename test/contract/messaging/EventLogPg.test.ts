import { assert, layer } from "@effect/vitest"
import { Array, Effect, Layer, Queue, References } from "effect"
import { SqlClient } from "effect/sql"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import { consumerContract } from "./ConsumerContract.ts"
import { eventLogContract } from "./EventLogContract.ts"
import { eventually, lease, Leases } from "./EventLogFixtures.ts"
import { payloadContract } from "./PayloadContract.ts"
import * as PgMessaging from "./PgMessaging.ts"

const leases = Layer.effect(
  Leases,
  Effect.map(SqlClient.SqlClient, (sql) => ({
    end: (group: string) =>
      Effect.orDie(sql`UPDATE event_log_members SET expires_at = '-infinity' WHERE group_name = ${group}`)
  }))
)

eventLogContract(
  "EventLogPg",
  Layer.provideMerge(leases, PgMessaging.layer({ eventLog: { lease } }))
)

consumerContract("Consumer on PostgreSQL", PgMessaging.layer({ eventLog: { lease } }))

payloadContract("Large payloads on PostgreSQL", PgMessaging.layer({ eventLog: { lease } }))

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

layer(PgMessaging.layer({ eventLog: { lease } }).pipe(Layer.provideMerge(quiet)), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("EventLogPg and its connections", (it) => {
  it.effect(
    "law 57: every connection is lost again and again under load: nothing is lost, order holds",
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const log = yield* EventLog
        yield* log.ensureTopics([{ name: "t", partitions: 3 }])
        const seen = yield* Queue.unbounded<number>()
        yield* Effect.forkScoped(log.subscribe({ group: "g", topics: ["t"], from: "earliest" }, (partition) =>
          Effect.forever(Effect.gen(function*() {
            const batch = yield* partition.take
            yield* Queue.offerAll(
              seen,
              batch.map(({ value }) =>
                Number(new TextDecoder().decode(value))
              )
            )
            yield* Effect.ignore(partition.commit(Array.lastNonEmpty(batch).offset + 1))
          }))))
        yield* Effect.forkScoped(
          sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()`.pipe(
            Effect.ignore,
            Effect.delay("100 millis"),
            Effect.replicateEffect(10)
          )
        )
        // Published again until acknowledged, as an outbox relay does: at least once, in order.
        yield* Effect.forEach(Array.range(0, 149), (n) =>
          log.publish([{ topic: "t", key: "k", value: new TextEncoder().encode(String(n)), headers: {} }]).pipe(
            Effect.delay("8 millis"),
            Effect.retry({ times: 100 })
          ))
        const order: Array<number> = []
        yield* Effect.timeoutOrElse(
          Effect.repeat(
            Effect.map(Queue.take(seen), (n) =>
              order.includes(n) ? order.length : order.push(n)),
            {
              until: (count) =>
                count === 150
            }
          ),
          {
            duration: "60 seconds",
            orElse: () =>
              Effect.die(new Error("not delivered in time"))
          }
        )
        assert.deepStrictEqual(order, Array.range(0, 149))
      })
  )
})

layer(
  PgMessaging.layer({
    eventLog: { retain: "1 hour", retainConsumed: "10 minutes", retainEvery: "20 millis" }
  }),
  { excludeTestServices: true, timeout: "2 minutes" }
)("EventLogPg, retention", (it) => {
  const publish = Effect.fnUntraced(function*(topic: string, ages: ReadonlyArray<string>) {
    const sql = yield* SqlClient.SqlClient
    const log = yield* EventLog
    yield* log.ensureTopics([{ name: topic, partitions: 1 }])
    // In one transaction, so that retention sees no record with the wrong age.
    yield* sql.withTransaction(Effect.gen(function*() {
      yield* log.publish(ages.map(() => ({ topic, key: "k", value: new Uint8Array(1), headers: {} })))
      yield* Effect.forEach(
        ages,
        (age, offset) =>
          sql`UPDATE event_log_records SET published_at = now() - ${age}::interval
          WHERE "offset" = ${offset}
            AND partition_id = (SELECT id FROM event_log_partitions WHERE topic = ${topic})`
      )
    }))
  })

  it.effect("deletes what is old, and sooner what every group has handled; readers go on after the gap", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      yield* publish("unread", ["3 hours", "2 hours", "30 minutes", "1 minute"])
      yield* eventually("the old ones are gone", log.ranges("unread"), ([range]) => range?.start === 2)

      const offsets = yield* Queue.unbounded<number>()
      yield* Effect.forkScoped(
        log.subscribe(
          { group: "g", topics: ["unread"], from: "earliest" },
          (partition) =>
            Effect.flatMap(partition.take, (batch) =>
              Effect.andThen(
                Queue.offerAll(
                  offsets,
                  batch.map(({ offset }) => offset)
                ),
                Effect.orDie(partition.commit(4))
              ))
        )
      )
      assert.deepStrictEqual(yield* Queue.takeN(offsets, 2), [2, 3])
      yield* eventually(
        "what was handled is gone after its time",
        log.ranges("unread"),
        ([range]) => range?.start === 3
      )
      assert.deepStrictEqual(yield* log.ranges("unread"), [{ partition: 0, start: 3, end: 4 }])
      assert.deepStrictEqual((yield* log.lag("g")).map(({ lag }) => lag), [0])
    }))
})
