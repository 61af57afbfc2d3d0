/** The outbox on concurrent transactions of a real server. */
import { assert, layer } from "@effect/vitest"
import { Array, Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Queue, Random, References } from "effect"
import { SqlClient } from "effect/sql"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { NewRecord } from "../../../src/messaging/EventLog.ts"
import { Outbox } from "../../../src/messaging/Outbox.ts"
import type { OutboxMessage } from "../../../src/messaging/Outbox.ts"
import * as OutboxRelay from "../../../src/messaging/OutboxRelay.ts"
import { OutboxStore } from "../../../src/messaging/OutboxStore.ts"
import { eventually } from "./EventLogFixtures.ts"
import * as PgMessaging from "./PgMessaging.ts"

const idOf = (n: number) => `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`

const message = (key: string, n: number, topic = "events"): OutboxMessage => ({
  id: idOf(n),
  topic,
  key,
  headers: { "content-type": "text/plain" },
  payload: String(n)
})

const number = ({ value }: NewRecord) => Number(new TextDecoder().decode(value))

const append = (...messages: ReadonlyArray<OutboxMessage>) =>
  Effect.flatMap(Outbox, (outbox) => outbox.append(messages))

const inTransaction = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.withTransaction(effect))

/** A log outside the database, as Kafka is; it notes what it was given. */
const foreignLog = Effect.gen(function*() {
  const log = yield* EventLog
  const published = yield* Queue.unbounded<NewRecord>()
  return {
    published,
    log: EventLog.of({ ...log, publish: (records) => Effect.asVoid(Queue.offerAll(published, records)) })
  }
})

const relayTo = (log: EventLog["Service"], options?: OutboxRelay.OutboxRelayOptions) =>
  OutboxRelay.run(options).pipe(Effect.provideService(EventLog, log), Effect.forkScoped)

const take = (published: Queue.Dequeue<NewRecord>, n: number) =>
  Effect.timeoutOrElse(Queue.takeN(published, n), {
    duration: "60 seconds",
    orElse: () => Effect.die(new Error("not published in time"))
  })

const isEmpty = Effect.flatMap(OutboxStore, (store) => Effect.map(store.backlog, ({ count }) => count === 0))

/** Runs `then` once somebody waits for an advisory lock of this database. */
const whenSomebodyWaits = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  eventually(
    "a transaction waits for a lock",
    sql`SELECT FROM pg_locks JOIN pg_database AS d ON d.oid = database
      WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`,
    (rows) => rows.length > 0
  ))

const fresh = () => PgMessaging.layer()

layer(fresh(), { excludeTestServices: true, timeout: "2 minutes" })("OutboxPg", (it) => {
  it.effect("law 53: what committed is published, what was rolled back never is", () =>
    Effect.gen(function*() {
      const { log, published } = yield* foreignLog
      yield* relayTo(log)
      yield* inTransaction(append(message("k", 1), message("k", 2)))
      yield* Effect.exit(inTransaction(Effect.andThen(append(message("k", 3)), Effect.fail("rolled back"))))
      const appended = yield* Deferred.make<void>()
      const interrupted = yield* Effect.forkChild(inTransaction(
        append(message("k", 4)).pipe(
          Effect.andThen(Deferred.succeed(appended, undefined)),
          Effect.andThen(Effect.never)
        )
      ))
      yield* Deferred.await(appended)
      yield* Fiber.interrupt(interrupted)
      yield* append(message("k", 5))
      const records = yield* take(published, 3)
      assert.deepStrictEqual(records.map(number), [1, 2, 5])
      yield* eventually("nothing is left", isEmpty, (empty) => empty)
      assert.strictEqual(yield* Queue.size(published), 0)
    }))

  it.effect("publishes the message as it was, with its id in a header", () =>
    Effect.gen(function*() {
      const { log, published } = yield* foreignLog
      yield* relayTo(log)
      const bytes = new Uint8Array([0, 255, 1])
      yield* append({ id: idOf(1), topic: "a", key: "ключ", headers: { some_Name: "ä" }, payload: bytes })
      yield* append({ id: idOf(2), topic: "b", key: "", headers: {}, payload: "text ü" })
      const records = yield* take(published, 2)
      assert.deepStrictEqual(records.toSorted((a, b) => a.topic < b.topic ? -1 : 1), [
        { topic: "a", key: "ключ", headers: { some_Name: "ä", "event-id": idOf(1) }, value: bytes },
        { topic: "b", key: "", headers: { "event-id": idOf(2) }, value: new TextEncoder().encode("text ü") }
      ])
    }))

  it.effect("carries the span that appended it as traceparent", () =>
    Effect.gen(function*() {
      const { log, published } = yield* foreignLog
      yield* relayTo(log)
      const { spanId, traceId } = yield* Effect.withSpan(
        Effect.tap(Effect.orDie(Effect.currentSpan), () => append(message("k", 1))),
        "save"
      )
      const [record] = yield* take(published, 1)
      assert.strictEqual(record?.headers["traceparent"], `00-${traceId}-${spanId}-01`)
      yield* Effect.withSpan(append({ ...message("k", 2), headers: { traceparent: "given" } }), "save")
      const [second] = yield* take(published, 1)
      assert.strictEqual(second?.headers["traceparent"], "given")
    }))

  it.effect("refuses a message that no log would take, and appends nothing of its call", () =>
    Effect.gen(function*() {
      const store = yield* OutboxStore
      const error = yield* Effect.flip(append(message("k", 1), { ...message("k", 2), payload: "x".repeat(1_000_001) }))
      assert.strictEqual(error._tag, "RecordTooLarge")
      assert.strictEqual((yield* store.backlog).count, 0)
    }))

  it.effect("law 53: a lower sequence number that commits later than a higher one is not skipped", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { log, published } = yield* foreignLog
      yield* relayTo(log)
      const appended = yield* Deferred.make<void>()
      const mayCommit = yield* Deferred.make<void>()
      const late = yield* Effect.forkChild(inTransaction(
        append(message("late", 1)).pipe(
          Effect.andThen(Deferred.succeed(appended, undefined)),
          Effect.andThen(Deferred.await(mayCommit))
        )
      ))
      yield* Deferred.await(appended)
      yield* inTransaction(append(message("early", 2), message("early", 3)))
      assert.deepStrictEqual((yield* take(published, 2)).map(number), [2, 3])
      yield* eventually("the relay has removed them", isEmpty, (empty) => empty)
      yield* Deferred.succeed(mayCommit, undefined)
      yield* Fiber.join(late)
      assert.deepStrictEqual((yield* take(published, 1)).map(number), [1])
      // What the test rests on: the late one did have the lower number.
      const [row] = yield* sql<
        { last: bigint }
      >`SELECT last_value AS last FROM pg_sequences WHERE sequencename = 'outbox_seq_seq'`
      assert.isAbove(Number(row?.last), 2)
    }))

  for (const first of ["commits", "is rolled back"] as const) {
    it.effect(`law 53: a second transaction of a key waits until the first ${first}`, () =>
      Effect.gen(function*() {
        const { log, published } = yield* foreignLog
        yield* relayTo(log)
        const appended = yield* Deferred.make<void>()
        const mayEnd = yield* Deferred.make<void>()
        const earlier = yield* Effect.forkChild(Effect.exit(inTransaction(
          append(message("k", 1)).pipe(
            Effect.andThen(Deferred.succeed(appended, undefined)),
            Effect.andThen(Deferred.await(mayEnd)),
            Effect.andThen(first === "commits" ? Effect.void : Effect.fail("rolled back"))
          )
        )))
        yield* Deferred.await(appended)
        const later = yield* Effect.forkChild(inTransaction(append(message("k", 2))))
        yield* whenSomebodyWaits
        assert.strictEqual(yield* Queue.size(published), 0)
        yield* Deferred.succeed(mayEnd, undefined)
        yield* Fiber.join(earlier)
        yield* Fiber.join(later)
        const expected = first === "commits" ? [1, 2] : [2]
        assert.deepStrictEqual((yield* take(published, expected.length)).map(number), expected)
      }))
  }

  it.effect("law 53: two relays, many transactions at once: all that committed, once, per key in commit order", () =>
    Effect.gen(function*() {
      const { log, published } = yield* foreignLog
      yield* Effect.replicateEffect(relayTo(log, { maxMessages: 7 }), 2)
      const keys = Array.makeBy(5, (n) => `key-${n}`)
      const inFlight = new Map<string, number>()
      const order = new Map(keys.map((key): [string, Array<number>] => [key, []]))
      const together: Array<string> = []
      yield* Effect.forEach(Array.range(1, 200), (n) =>
        Effect.gen(function*() {
          const key = keys[yield* Random.nextIntBetween(0, keys.length, { halfOpen: true })] ?? ""
          const fails = (yield* Random.next) < 0.3
          const hold = yield* Random.nextBetween(0, 8)
          yield* inTransaction(Effect.gen(function*() {
            yield* append(message(key, n))
            // From here to the commit no other transaction of the key may be: that makes this the commit order.
            if ((inFlight.get(key) ?? 0) > 0) together.push(key)
            inFlight.set(key, (inFlight.get(key) ?? 0) + 1)
            yield* Effect.sleep(hold)
            inFlight.set(key, (inFlight.get(key) ?? 0) - 1)
            if (fails) return yield* Effect.fail("rolled back")
            order.get(key)?.push(n)
          }))
        }).pipe(Effect.exit), { concurrency: 12 })
      const committed = [...order.values()].flat()
      const records = yield* take(published, committed.length)
      yield* eventually("nothing is left", isEmpty, (empty) => empty)
      assert.strictEqual(yield* Queue.size(published), 0)
      assert.deepStrictEqual(together, [])
      const byKey = Map.groupBy(records, ({ key }) => key)
      for (const [key, numbers] of order) {
        assert.deepStrictEqual((byKey.get(key) ?? []).map(number), numbers, `order along ${key}`)
      }
    }))

  it.effect("two batches of the same keys in different orders do not lock each other out", () =>
    Effect.gen(function*() {
      const { log } = yield* foreignLog
      yield* relayTo(log)
      const keys = Array.makeBy(30, (n) => `key-${n}`)
      yield* Effect.forEach(
        Array.range(1, 40),
        (n) => append(...(n % 2 === 0 ? keys : keys.toReversed()).map((key, i) => message(key, n * 100 + i))),
        { concurrency: 10 }
      )
      yield* eventually("nothing is left", isEmpty, (empty) => empty)
    }))

  it.effect("law 53: killed between publish and mark, the same messages are published again, in order", () =>
    Effect.gen(function*() {
      const store = yield* OutboxStore
      const { log, published } = yield* foreignLog
      yield* append(message("a", 1), message("a", 2), message("b", 3))
      const options = { maxMessages: 10, maxBytes: 1_000, withheld: { topics: [], keys: [] } }
      const killed = yield* Effect.forkChild(
        store.relay(options, (messages) =>
          log.publish(messages.map(({ id, key, payload, topic }) => ({
            topic,
            key,
            value: typeof payload === "string" ? new TextEncoder().encode(payload) : payload,
            headers: { "event-id": id }
          }))).pipe(Effect.andThen(Effect.never)))
      )
      const first = yield* take(published, 3)
      yield* Fiber.interrupt(killed)
      yield* relayTo(log)
      const again = yield* take(published, 3)
      const seen = (records: ReadonlyArray<NewRecord>) =>
        records.map(({ headers, key }) => `${key} ${headers["event-id"]}`)
      assert.deepStrictEqual(seen(again), seen(first))
      assert.deepStrictEqual(again.filter(({ key }) => key === "a").map(number), [1, 2])
      yield* eventually("nothing is left", isEmpty, (empty) => empty)
    }))

  it.effect("law 53: a relay that falls silent loses its work to another, and can't remove what it did not finish", () =>
    Effect.gen(function*() {
      // Not that of the other relay, which may stand still with the machine and is to keep its work
      const impatient = yield* Layer.build(
        Layer.fresh(PgMessaging.adapters({ outbox: { relayTimeout: "5 seconds" } }))
      )
      const store = Context.get(impatient, OutboxStore)
      const { log, published } = yield* foreignLog
      yield* append(message("a", 1))
      const options = { maxMessages: 10, maxBytes: 1_000, withheld: { topics: [], keys: [] } }
      const paused = yield* Deferred.make<void>()
      const wake = yield* Deferred.make<void>()
      const silent = yield* Effect.forkChild(
        Effect.exit(
          store.relay(options, () => Effect.andThen(Deferred.succeed(paused, undefined), Deferred.await(wake)))
        )
      )
      yield* Deferred.await(paused)
      yield* relayTo(log, { poll: "100 millis" })
      yield* append(message("a", 2))
      assert.deepStrictEqual((yield* take(published, 2)).map(number), [1, 2])
      yield* Deferred.succeed(wake, undefined)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(silent)))
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))

  it.effect("bounds batches by messages and by bytes, yet always hands out one", () =>
    Effect.gen(function*() {
      const store = yield* OutboxStore
      yield* append(...[10, 10, 10, 500, 60, 60].map((size, n) => ({ ...message("k", n), payload: "x".repeat(size) })))
      const batches: Array<ReadonlyArray<number>> = []
      const relay = store.relay(
        { maxMessages: 2, maxBytes: 100, withheld: { topics: [], keys: [] } },
        (messages) => Effect.sync(() => batches.push(messages.map(({ payload }) => payload.length)))
      )
      yield* Effect.repeat(relay, { until: (published) => published === 0 })
      assert.deepStrictEqual(batches, [[10, 10], [10], [500], [60], [60]])
    }))

  it.effect("tells how much waits, and for how long", () =>
    Effect.gen(function*() {
      const store = yield* OutboxStore
      assert.deepStrictEqual(yield* store.backlog, { count: 0, oldestAge: Duration.zero })
      yield* append(message("a", 1), message("b", 2))
      const { oldestAge } = yield* eventually(
        "it grows older",
        store.backlog,
        ({ oldestAge }) => Duration.toMillis(oldestAge) >= 50
      )
      assert.isBelow(Duration.toMillis(oldestAge), 60_000)
      assert.strictEqual((yield* store.backlog).count, 2)
      const { log, published } = yield* foreignLog
      yield* relayTo(log)
      yield* take(published, 2)
    }))

  it.effect("is woken again after the connection that listens was lost", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const { log, published } = yield* foreignLog
      yield* relayTo(log, { poll: "1 hour" })
      const terminated = yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query ILIKE 'LISTEN%' AND pid <> pg_backend_pid()`
      assert.strictEqual(terminated.length, 1)
      yield* append(message("a", 1))
      yield* take(published, 1)
      yield* eventually(
        "it listens again",
        sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'`,
        (rows) => rows.length === 1
      )
      yield* append(message("a", 2))
      yield* take(published, 1)
    }).pipe(Effect.provideService(References.MinimumLogLevel, "None")))
})

layer(Layer.fresh(fresh()), { excludeTestServices: true, timeout: "2 minutes" })("OutboxPg and EventLogPg", (it) => {
  it.effect("law 53: from the outbox to a reader inside one database, each message once", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      yield* log.ensureTopics([{ name: "events", partitions: 4 }])
      const seen = yield* Queue.unbounded<NewRecord>()
      yield* Effect.forkScoped(log.subscribe({ group: "g", topics: ["events"], from: "earliest" }, ({ take }) =>
        Effect.forever(Effect.flatMap(take, (batch) =>
          Queue.offerAll(seen, batch)))))
      yield* Effect.replicateEffect(relayTo(log), 2)
      yield* Effect.forEach(Array.range(1, 300), (n) =>
        inTransaction(append(message(`key-${n % 10}`, n))), {
        concurrency: 8
      })
      const records = yield* take(seen, 300)
      yield* eventually("nothing is left", isEmpty, (empty) => empty)
      assert.strictEqual(yield* Queue.size(seen), 0)
      assert.strictEqual(new Set(records.map(number)).size, 300)
    }))
})

// A database of its own: backends of the others may report what they did before.
layer(Layer.fresh(fresh()), { excludeTestServices: true, timeout: "2 minutes" })("Messaging at rest", (it) => {
  it.effect(
    "without anything to do there is no polling: a few transactions a second at most",
    () =>
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const log = yield* EventLog
        yield* log.ensureTopics([{ name: "idle", partitions: 8 }])
        yield* Effect.forkScoped(
          log.subscribe({ group: "idle", topics: ["idle"], from: "earliest" }, ({ take }) => Effect.forever(take))
        )
        yield* relayTo(log)
        const transactions = Effect.map(
          sql<{ count: bigint }>`SELECT xact_commit + xact_rollback AS count, pg_stat_clear_snapshot()
          FROM pg_stat_database WHERE datname = current_database()`,
          ([row]) => Number(row?.count)
        )
        // Backends report their counts about once a second.
        yield* Effect.sleep("1 second")
        const before = yield* transactions
        yield* Effect.sleep("3 seconds")
        assert.isBelow((yield* transactions) - before, 40)
      })
  )
})
