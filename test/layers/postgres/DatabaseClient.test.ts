import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Metric, Option, Queue, Redacted, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import * as DatabaseClient from "../../../src/layers/postgres/DatabaseClient.ts"
import { isServerAway } from "../../../src/layers/postgres/ServerAway.ts"
import { freshDatabase } from "../../support/Postgres.ts"
import { openProxy } from "../../support/TcpProxy.ts"

const impatient = (url: Redacted.Redacted, options?: Partial<DatabaseClient.DatabaseClientOptions>) =>
  DatabaseClient.layer({
    url,
    maxConnections: 5,
    answerWithin: "2 seconds",
    connectionWithin: "2 seconds",
    connectTimeout: "60 seconds",
    ...options
  })

/** A client on a fresh database. */
const withClient = <A, E>(
  use: Effect.Effect<A, E, PgClient.PgClient | SqlClient.SqlClient>,
  options?: Partial<DatabaseClient.DatabaseClientOptions>
) => Effect.flatMap(freshDatabase, (url) => Effect.provide(use, impatient(url, options))).pipe(Effect.scoped)

/** A client whose way to the database the test can stop. */
const behindProxy = Effect.fnUntraced(function*() {
  const url = new URL(Redacted.value(yield* freshDatabase))
  const proxy = yield* openProxy(url.hostname, Number(url.port))
  url.port = String(proxy.port)
  return { proxy, url: Redacted.make(url.href) }
})

const backend = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => Effect.map(sql<{ pid: number }>`SELECT pg_backend_pid() AS pid`, ([row]) => row?.pid)
)

/** Longer than the server may be silent, spent with statements that are short. */
const aWhile = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => Effect.replicateEffect(sql`SELECT pg_sleep(0.3)`, 9, { discard: true })
)

/** Runs the effect while a transaction, in which nothing is asked meanwhile, waits for its end. */
const besideTransaction = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const sql = yield* SqlClient.SqlClient
  const begun = yield* Deferred.make<void>()
  const over = yield* Deferred.make<void>()
  const transaction = sql.withTransaction(Effect.gen(function*() {
    const before = yield* backend
    yield* Deferred.succeed(begun, undefined)
    yield* Deferred.await(over)
    assert.strictEqual(yield* backend, before)
  }))
  yield* Effect.all([
    transaction,
    Effect.ensuring(Effect.andThen(Deferred.await(begun), effect), Deferred.succeed(over, undefined))
  ], { concurrency: "unbounded" })
})

/** Who waits without end is found out; how fast the machine is makes no difference. */
const soon = Effect.timeoutOrElse({
  duration: "30 seconds",
  orElse: () => Effect.die(new Error("the caller still waits"))
})

const away = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.flatMap(Effect.result(soon(effect)), (result) =>
    Effect.sync(() => {
      assert.isTrue(Result.isFailure(result))
      const error = Result.isFailure(result) ? result.failure : undefined
      assert.isTrue(error instanceof Error && "reason" in error, String(error))
    }))

/** What the metrics say of the pool. */
const poolIs = (wanted: Readonly<Record<string, number>>) =>
  Effect.map(
    Metric.snapshot,
    (all) =>
      Object.entries(wanted).every(([name, value]) =>
        all.some((metric) =>
          metric.id === `database_pool_${name}` && metric.attributes?.["pool"] === "test" && metric.type === "Gauge" &&
          Number(metric.state.value) === value
        )
      )
  ).pipe(Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("10 millis") }), Effect.timeout("60 seconds"))

describe("DatabaseClient", () => {
  it.live("shows how much of its pool is in use, and who waits for it", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* poolIs({ connections_max: 1, connections: 0, waiting: 0 })
        const over = yield* Deferred.make<void>()
        const holder = yield* Effect.forkChild(sql.withTransaction(Deferred.await(over)))
        yield* poolIs({ connections: 1, waiting: 0 })
        const waiter = yield* Effect.forkChild(sql`SELECT 1`)
        yield* poolIs({ connections: 1, waiting: 1 })
        const leaver = yield* Effect.forkChild(sql`SELECT 1`)
        yield* poolIs({ connections: 1, waiting: 2 })
        yield* Fiber.interrupt(leaver)
        yield* poolIs({ connections: 1, waiting: 1 })
        yield* Deferred.succeed(over, undefined)
        yield* Fiber.join(holder)
        yield* Fiber.join(waiter)
        yield* poolIs({ connections: 0, waiting: 0 })
      }),
      { pool: "test", maxConnections: 1, connectionWithin: "20 seconds", answerWithin: "20 seconds" }
    ))

  it.live("gives up a connection whose answer is overdue, and never uses it again", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const before = yield* backend
        const error = yield* Effect.flip(soon(sql`SELECT pg_sleep(60)`))
        assert.isTrue(isServerAway(error), String(error))
        assert.notStrictEqual(yield* backend, before)
      }),
      { maxConnections: 1, connectionWithin: "60 seconds" }
    ))

  it.live("waits neither for BEGIN nor for COMMIT nor for ROLLBACK, and uses none of the connections again", () =>
    Effect.gen(function*() {
      const { proxy, url } = yield* behindProxy()
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`SELECT 1`
        for (
          const transaction of [
            Effect.andThen(proxy.stall, sql.withTransaction(Effect.void)),
            sql.withTransaction(proxy.stall),
            sql.withTransaction(Effect.andThen(proxy.stall, Effect.fail("undo")))
          ]
        ) {
          const exit = yield* Effect.exit(soon(transaction))
          assert.strictEqual(exit._tag, "Failure")
          assert.notInclude(String(exit), "still waits")
          yield* proxy.flow
          assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
        }
      }).pipe(Effect.provide(impatient(url, { connectionWithin: "60 seconds" })))
    }).pipe(Effect.scoped))

  it.live("refuses who waits too long for a connection", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const waiting = [away(sql`SELECT 1`), away(sql`SELECT 1`), away(sql.withTransaction(sql`SELECT 1`))]
        yield* besideTransaction(Effect.all(waiting, { concurrency: "unbounded" }))
        assert.deepStrictEqual(yield* sql`SELECT 1 AS one`, [{ one: 1 }])
      }),
      { maxConnections: 1 }
    ))

  it.live("lets those be silent of whom nothing is asked: listeners, and transactions that do other work", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* PgClient.PgClient
        const notifications = yield* sql.listen("news")
        yield* besideTransaction(aWhile)
        yield* sql.notify("news", "still there")
        const { payload } = yield* soon(Queue.take(notifications))
        assert.strictEqual(payload, "still there")
      }).pipe(Effect.scoped)
    ))

  it.live("waits for long statements where it may", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        assert.strictEqual((yield* sql`SELECT pg_sleep(2.5)`).length, 1)
      }),
      { answerWithin: "1 minute" }
    ))

  it.live("takes an answer that came while this program was held up itself", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const before = yield* backend
        const asked = yield* Effect.forkChild(sql`SELECT pg_sleep(0.1)`, { startImmediately: true })
        yield* Effect.yieldNow
        // Nothing is read, and no timer runs, for longer than the answer may take
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
        yield* Fiber.join(asked)
        assert.strictEqual(yield* backend, before)
      }),
      { maxConnections: 1 }
    ))

  it.live("fails a transaction whose commit the server made a rollback", () =>
    withClient(Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const error = yield* Effect.flip(sql.withTransaction(Effect.ignore(sql`SELECT 1 / 0`)))
      assert.match(error.message, /rolled/)
      assert.strictEqual(error.reason._tag, "UnknownError")
      yield* sql`CREATE TABLE things (user_name text, at timestamptz DEFAULT now())`
      const rows = yield* sql`INSERT INTO things ${sql.insert({ userName: "a" })} RETURNING user_name`
      assert.deepStrictEqual(rows, [{ userName: "a" }])
    })))

  it.live("finds the server by every form of URL that the driver takes", () =>
    Effect.gen(function*() {
      const url = new URL(Redacted.value(yield* freshDatabase))
      const { hostname, port } = url
      url.hostname = "nowhere.invalid"
      url.port = "1"
      url.searchParams.set("host", hostname)
      url.searchParams.set("port", port)
      assert.isNumber(yield* backend.pipe(Effect.provide(impatient(Redacted.make(url.href)))))
      url.searchParams.set("host", "/no/folder")
      const error = yield* Effect.flip(backend.pipe(Effect.provide(impatient(Redacted.make(url.href)))))
      assert.include(String(error.reason.cause), `/no/folder/.s.PGSQL.${port}`)
    }).pipe(Effect.scoped))

  it.live("is interrupted at once where nothing hangs", () =>
    withClient(
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const before = yield* backend
        assert.isTrue(Option.isNone(yield* soon(Effect.timeoutOption(sql`SELECT pg_sleep(60)`, "50 millis"))))
        // The server was told to stop, and has; the driver, which waits five seconds for that, did not give it up
        assert.strictEqual(yield* backend, before)
      }),
      { maxConnections: 1, answerWithin: "1 minute" }
    ))
})
