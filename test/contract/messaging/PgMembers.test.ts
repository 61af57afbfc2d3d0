/** What becomes of a group in PostgreSQL when the processes of its members end, pause, or lose a connection. */
import { assert, describe, it } from "@effect/vitest"
import { Array, Context, Duration, Effect, Fiber, Layer, Queue, Redacted, References, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import type { Statement } from "effect/sql"
import { channel } from "../../../src/layers/postgres/messaging/Notifications.ts"
import { groupSubject } from "../../../src/layers/postgres/messaging/PgGroup.ts"
import * as Presence from "../../../src/layers/postgres/messaging/Presence.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import * as Postgres from "../../support/Postgres.ts"
import { openProxy } from "../../support/TcpProxy.ts"
import { eventually } from "./EventLogFixtures.ts"
import * as PgMessaging from "./PgMessaging.ts"

type Lease = "10 seconds" | "1 hour"

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

/** A process with a pool and a connection for notifications of its own, on a way to the server that the test can stop. */
const processOn = Effect.fnUntraced(function*(url: Redacted.Redacted, lease: Lease, grace: Duration.Input) {
  const way = new URL(Redacted.value(url))
  const proxy = yield* openProxy(way.hostname, Number(way.port))
  way.port = String(proxy.port)
  const context = yield* Layer.build(Layer.fresh(
    PgMessaging.adapters({ eventLog: { lease } }).pipe(
      Layer.provide(Postgres.layerOf(Redacted.make(way.href), { answerWithin: "20 seconds" })),
      Layer.provideMerge(quiet),
      Layer.provide(Layer.succeed(Presence.Grace, Duration.fromInputUnsafe(grace)))
    )
  ))
  return { proxy, log: Context.get(context, EventLog), context }
})

/** The sessions of the database as they are now; a transaction would see them as it saw them first. */
const sessions = (sql: SqlClient.SqlClient, which: Statement.Fragment) =>
  Effect.andThen(
    sql`SELECT pg_stat_clear_snapshot()`,
    sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND ${which}`
  )

/** A topic of one partition, a member of its group that has it, and another one that waits for it. */
const pair = Effect.fnUntraced(function*(lease: Lease, grace: Duration.Input = "1 second") {
  const url = yield* Postgres.freshDatabase
  const database = yield* Layer.build(PgMessaging.migrated.pipe(Layer.provideMerge(Postgres.layerOf(url))))
  const sql = Context.get(database, SqlClient.SqlClient)
  const assigned = yield* Queue.unbounded<string>()
  let running = 0

  const join = (name: string, { context, log }: Effect.Success<ReturnType<typeof processOn>>) =>
    log.subscribe({ group: "g", topics: ["t"], from: "earliest" }, (partition) =>
      Effect.acquireUseRelease(
        Effect.suspend(() => Queue.offer(assigned, `${name}, ${++running} at once`)),
        () =>
          Effect.forever(Effect.flatMap(partition.take, (batch) =>
            Effect.ignore(partition.commit(Array.lastNonEmpty(batch).offset + 1)))),
        () =>
          Effect.sync(() =>
            running--
          )
      )).pipe(Effect.provide(context), Effect.forkScoped)

  const first = yield* processOn(url, lease, grace)
  yield* first.log.ensureTopics([{ name: "t", partitions: 1 }])
  yield* join("first", first)
  assert.strictEqual(yield* inTime(Queue.take(assigned)), "first, 1 at once")
  yield* join("second", yield* processOn(url, lease, grace))
  const members = sql<{ id: string; presence: bigint | null }>`SELECT * FROM event_log_members`
  yield* eventually("both say that they are there", members, isPresent)
  /** The members look after each other again and again, as they do when one joins or leaves. */
  const lookAgain = sql`SELECT pg_notify(${channel}, ${groupSubject("g")})`.pipe(
    Effect.repeat(Schedule.spaced("5 millis")),
    Effect.forkScoped
  )
  return { sql, first, assigned, members, lookAgain }
})

const isPresent = (rows: ReadonlyArray<{ readonly presence: bigint | null }>) =>
  rows.filter(({ presence }) => presence !== null).length === 2

const inTime = Effect.timeoutOrElse({
  duration: "60 seconds",
  orElse: () => Effect.die(new Error("not in time"))
})

describe.concurrent("members of a group in PostgreSQL", () => {
  it.live("one whose process is gone is replaced long before its lease ends, and two never work at once", () =>
    Effect.gen(function*() {
      const { assigned, first, lookAgain, members } = yield* pair("1 hour")
      yield* first.proxy.cut
      yield* lookAgain
      assert.strictEqual(yield* inTime(Queue.take(assigned)), "second, 1 at once")
      yield* first.proxy.restore
      yield* eventually("it is a member again, in the place of what it was", members, isPresent)
      assert.strictEqual((yield* members).length, 2)
    }).pipe(Effect.scoped))

  it.live("one that is paused keeps its partitions until its lease ends, and two never work at once", () =>
    Effect.gen(function*() {
      const { assigned, first, sql } = yield* pair("10 seconds")
      yield* first.proxy.stall
      const [lease] = yield* sql`
        SELECT expires_at::text AS "end" FROM event_log_members
        WHERE id = (SELECT owner FROM event_log_offsets)`
      assert.strictEqual(yield* inTime(Queue.take(assigned)), "second, 1 at once")
      const [now] = yield* sql`SELECT clock_timestamp() >= ${lease?.["end"]}::timestamptz AS is_over`
      assert.deepStrictEqual(now, { isOver: true })
      yield* first.proxy.flow
    }).pipe(Effect.scoped))

  it.live("one that is paused while it holds the group's lock holds up the others only for a while", () =>
    Effect.gen(function*() {
      const { assigned, first, sql } = yield* pair("10 seconds")
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT FROM event_log_groups FOR UPDATE`
        yield* eventually(
          "both wait for the lock",
          sessions(sql, sql`wait_event_type = 'Lock'`),
          (waiting) => waiting.length === 2
        )
        yield* first.proxy.stall
      }))
      assert.strictEqual(yield* inTime(Queue.take(assigned)), "second, 1 at once")
      yield* first.proxy.flow
    }).pipe(Effect.scoped))

  it.live("one that is told to stop while it joins leaves nothing behind that others would wait for", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.freshDatabase
      const database = yield* Layer.build(PgMessaging.migrated.pipe(Layer.provideMerge(Postgres.layerOf(url))))
      const sql = Context.get(database, SqlClient.SqlClient)
      // The commit of a new member waits for a lock that the test holds
      yield* sql`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN NULL; END'`
      yield* sql`CREATE CONSTRAINT TRIGGER wait AFTER INSERT ON event_log_members DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION wait()`
      const { context, log } = yield* processOn(url, "1 hour", "1 second")
      yield* log.ensureTopics([{ name: "t", partitions: 1 }])
      const subscribed = log.subscribe({ group: "g", topics: ["t"], from: "earliest" }, () => Effect.never)
      const leaving = yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`SELECT pg_advisory_xact_lock(42)`
        const joining = yield* Effect.forkScoped(Effect.provide(subscribed, context))
        yield* eventually(
          "it waits for the commit",
          sessions(sql, sql`wait_event = 'advisory' AND query = 'COMMIT'`),
          (waiting) => waiting.length === 1
        )
        return yield* Effect.forkScoped(Fiber.interrupt(joining), { startImmediately: true })
      }))
      yield* Fiber.join(leaving)
      assert.lengthOf(yield* sql`SELECT FROM event_log_members`, 0)
    }).pipe(Effect.scoped))

  it.live("one that loses its connection and finds another stays, however closely the others look", () =>
    Effect.gen(function*() {
      // As long as a busy machine may need for a new connection
      const { assigned, lookAgain, members, sql } = yield* pair("1 hour", "1 minute")
      const before = yield* members
      yield* lookAgain
      for (let times = 0; times < 5; times++) {
        const known = yield* members
        // One that was ended may be seen for a while after its client has found another
        yield* eventually(
          "both listen, and nobody else",
          sessions(sql, sql`query ILIKE 'LISTEN%'`),
          (listening) => listening.length === 2
        )
        const ended = yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND query ILIKE 'LISTEN%' AND pid <> pg_backend_pid()`
        assert.strictEqual(ended.length, 2)
        yield* eventually(
          "both have a new connection",
          members,
          (now) => isPresent(now) && now.every(({ presence }) => known.every((one) => one.presence !== presence))
        )
      }
      yield* eventually(
        "their leases are whole again",
        sql`SELECT FROM event_log_members WHERE expires_at > clock_timestamp() + interval '30 minutes'`,
        (rows) => rows.length === 2
      )
      assert.sameMembers((yield* members).map(({ id }) => id), before.map(({ id }) => id))
      assert.strictEqual(yield* Queue.size(assigned), 0)
    }).pipe(Effect.scoped))
})
