/** The inbox on concurrent transactions of a real server. */
import { assert, layer } from "@effect/vitest"
import { Array, Deferred, Effect, Exit, Fiber, Option, Random, Schema } from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { Inbox } from "../../../src/messaging/Inbox.ts"
import { eventually } from "./EventLogFixtures.ts"
import * as PgMessaging from "./PgMessaging.ts"

/** What an event causes: a row, so that it is part of the transaction. */
const record = (event: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql`INSERT INTO effects (event) VALUES (${event})`)

const effectsOf = (event: string) =>
  Effect.flatMap(
    SqlClient.SqlClient,
    (sql) => Effect.map(sql`SELECT FROM effects WHERE event = ${event}`, (rows) => rows.length)
  )

const createEffects = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`CREATE TABLE IF NOT EXISTS effects (event text NOT NULL)`
)

const Delivery = Schema.Struct({
  event: Schema.Literals(["e1", "e2", "e3"]),
  consumer: Schema.Literals(["billing", "shipping"]),
  way: Schema.Literals(["once", "onceTogether"]),
  outcome: Schema.Literals(["succeeds", "fails", "is interrupted"])
})

layer(PgMessaging.layer(), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("InboxPg", (it) => {
  it.effect.prop(
    "law 54: however often and however many at once, alone or together, the effect happens once per consumer and event id",
    [Schema.Array(Delivery).check(Schema.isMaxLength(15))],
    ([deliveries]) =>
      Effect.gen(function*() {
        yield* createEffects
        const inbox = yield* Inbox
        const run = yield* Random.nextInt
        const nameOf = (event: string, consumer: string) => `${run} ${consumer} ${event}`
        const results = yield* Effect.forEach(deliveries, ({ consumer, event, outcome, way }) => {
          const effect = Effect.andThen(
            record(nameOf(event, consumer)),
            outcome === "succeeds" ? Effect.void : outcome === "fails" ? Effect.fail("no") : Effect.interrupt
          )
          return Effect.exit(inbox[way](consumer, `${run} ${event}`, effect))
        }, { concurrency: 12 })
        for (
          const [name, group] of Map.groupBy(deliveries.map((delivery, i) => ({ ...delivery, result: results[i] })), (
            { consumer, event }
          ) => nameOf(event, consumer))
        ) {
          const succeeds = group.some(({ outcome }) => outcome === "succeeds")
          assert.strictEqual(yield* effectsOf(name), succeeds ? 1 : 0)
          const first = group.filter(({ result }) => result?._tag === "Success" && Option.isSome(result.value))
          assert.strictEqual(first.length, succeeds ? 1 : 0)
        }
      }),
    { arbitrary: { runs: 30 } }
  )

  it.effect("law 54: of two deliveries at once the second waits, and takes over if the first fails", () =>
    Effect.gen(function*() {
      yield* createEffects
      const sql = yield* SqlClient.SqlClient
      const inbox = yield* Inbox
      const begun = yield* Deferred.make<void>()
      const mayFail = yield* Deferred.make<void>()
      const first = yield* Effect.forkChild(Effect.flip(inbox.once(
        "c",
        "taken over",
        record("taken over").pipe(
          Effect.andThen(Deferred.succeed(begun, undefined)),
          Effect.andThen(Deferred.await(mayFail)),
          Effect.andThen(Effect.fail("no"))
        )
      )))
      yield* Deferred.await(begun)
      const second = yield* Effect.forkChild(inbox.once("c", "taken over", Effect.as(record("taken over"), "mine")))
      yield* eventually(
        "the second waits",
        sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'`,
        (rows) => rows.length > 0
      )
      yield* Deferred.succeed(mayFail, undefined)
      assert.strictEqual(yield* Fiber.join(first), "no")
      assert.deepStrictEqual(yield* Fiber.join(second), Option.some("mine"))
      assert.strictEqual(yield* effectsOf("taken over"), 1)
    }))

  it.effect("law 54: events that come at once share transactions, and of those that fail none takes another along", () =>
    Effect.gen(function*() {
      yield* createEffects
      const sql = yield* SqlClient.SqlClient
      const inbox = yield* Inbox
      const nameOf = (n: number) => `together ${n}`
      const outcomes = yield* Effect.forEach(Array.range(1, 60), (n) =>
        Effect.exit(inbox.onceTogether(
          "c",
          nameOf(n),
          Effect.gen(function*() {
            yield* record(nameOf(n))
            // Spoils the transaction for those after it, too
            if (n % 20 === 0) yield* sql`SELECT 1 / 0`
            return n
          })
        )), { concurrency: "unbounded" })
      for (const [index, outcome] of outcomes.entries()) {
        const n = index + 1
        assert.strictEqual(yield* effectsOf(nameOf(n)), n % 20 === 0 ? 0 : 1)
        if (n % 20 === 0) assert.strictEqual(outcome._tag, "Failure")
        else assert.deepStrictEqual(outcome, Exit.succeed(Option.some(n)))
      }
      const later = yield* Effect.forEach(
        Array.range(61, 120),
        (n) =>
          inbox.onceTogether(
            "c",
            nameOf(n),
            Effect.andThen(record(nameOf(n)), sql<{ readonly id: bigint }>`SELECT txid_current() AS id`)
          ),
        { concurrency: "unbounded" }
      )
      const used = new Set(later.flatMap(Option.match({ onNone: () => [], onSome: ([row]) => [row?.id] })))
      assert.isBelow(used.size, 30)
    }))

  it.effect("law 54: who is interrupted leaves no effect and no record, and the others of its transaction theirs", () =>
    Effect.gen(function*() {
      yield* createEffects
      const inbox = yield* Inbox
      const begun = yield* Deferred.make<void>()
      const first = yield* Effect.forkChild(inbox.onceTogether(
        "c",
        "interrupted",
        Effect.andThen(record("interrupted"), Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      ))
      const others = yield* Effect.forkChild(Effect.forEach(
        Array.range(1, 10),
        (n) => inbox.onceTogether("c", `beside ${n}`, record(`beside ${n}`)),
        { concurrency: "unbounded", discard: true }
      ))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(first)
      yield* Fiber.join(others)
      assert.strictEqual(yield* effectsOf("interrupted"), 0)
      for (const n of Array.range(1, 10)) assert.strictEqual(yield* effectsOf(`beside ${n}`), 1)
      assert.deepStrictEqual(yield* inbox.onceTogether("c", "interrupted", Effect.succeed(1)), Option.some(1))
    }))

  it.effect("law 54: within a transaction of the caller it is part of that one", () =>
    Effect.gen(function*() {
      yield* createEffects
      const sql = yield* SqlClient.SqlClient
      const inbox = yield* Inbox
      const rolledBack = Effect.andThen(inbox.onceTogether("c", "inner", record("inner")), Effect.fail("no"))
      assert.strictEqual(yield* Effect.flip(sql.withTransaction(rolledBack)), "no")
      assert.strictEqual(yield* effectsOf("inner"), 0)
      assert.deepStrictEqual(yield* inbox.onceTogether("c", "inner", Effect.succeed(1)), Option.some(1))
    }))

  it.effect("passes the errors of the effect on, SQL errors among them", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const inbox = yield* Inbox
      for (const once of [inbox.once, inbox.onceTogether]) {
        const error = yield* Effect.flip(once("c", "sql error", sql`SELECT 1 / 0`))
        assert.isTrue(SqlError.isSqlError(error))
      }
      assert.deepStrictEqual(yield* inbox.once("c", "sql error", Effect.succeed(1)), Option.some(1))
    }))
})

layer(PgMessaging.layer({ inbox: { remember: "30 minutes", forgetEvery: "50 millis" } }), {
  excludeTestServices: true,
  timeout: "2 minutes"
})("InboxPg, forgetting", (it) => {
  it.effect("ids are forgotten after the set age, and not before", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const inbox = yield* Inbox
      const remembered = sql`SELECT FROM inbox`
      yield* Effect.forEach(Array.range(1, 20), (n) => inbox.once("c", `old ${n}`, Effect.void))
      yield* sql`UPDATE inbox SET handled_at = now() - interval '1 hour' WHERE event_id <> 'old 1'`
      yield* sql`UPDATE inbox SET handled_at = now() + interval '1 hour' WHERE event_id = 'old 1'`
      yield* eventually("the old ones are gone", remembered, (rows) => rows.length === 1)
      assert.deepStrictEqual(yield* inbox.once("c", "old 1", Effect.void), Option.none())
      assert.deepStrictEqual(yield* inbox.once("c", "old 2", Effect.succeed("again")), Option.some("again"))
    }))
})
