import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as Notifications from "../../../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../../../src/layers/postgres/messaging/OutboxPg.ts"
import { Outbox } from "../../../src/messaging/Outbox.ts"
import { Journal } from "../../../src/saga/Journal.ts"
import type { NewSaga, Write } from "../../../src/saga/Journal.ts"
import { LeaseLost } from "../../../src/saga/SagaError.ts"
import { started } from "../../../src/saga/SagaStatus.ts"
import { boundsContract } from "./BoundsContract.ts"
import { journalContract, Leases } from "./JournalContract.ts"
import * as PgSagas from "./PgSagas.ts"

const leases = Layer.effect(
  Leases,
  Effect.map(SqlClient.SqlClient, (sql) => ({
    end: (owner: string) =>
      Effect.orDie(sql`UPDATE saga_owners SET expires_at = clock_timestamp() WHERE id = ${owner}::uuid`)
  }))
)

const journal = Layer.provideMerge(leases, PgSagas.layer())

journalContract("JournalPg", journal, { isVirtual: false })
boundsContract("JournalPg", journal, { isVirtual: false })

describe("JournalPg", () => {
  const entry = (step: string) => ({ at: 1, epoch: 1, event: { _tag: "StepStarted", step, kind: "pivot" } as const })
  const saga = (id: string, owner: string): NewSaga => ({
    id,
    name: "test",
    version: 1,
    input: 1,
    startedAt: 1,
    traceparent: undefined,
    owner
  })
  const first = { entries: [entry("a")], status: started, isLast: false }
  const writeOf = (sagaId: string, epoch = 1): Write => ({
    sagaId,
    epoch,
    position: 1,
    entries: [entry("b")],
    status: started,
    isLast: false
  })
  const begun = Effect.fnUntraced(function*(id: string) {
    const journal = yield* Journal
    yield* journal.create(saga(id, yield* journal.join), first)
    return journal
  })

  it.live("an action, its outbox rows and its entry come together, or none of them", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const journal = yield* begun("1")
      const outbox = yield* Outbox
      yield* sql`CREATE TABLE effects (name text PRIMARY KEY)`
      const action = Effect.fnUntraced(function*(name: string, id: string) {
        yield* sql`INSERT INTO effects VALUES (${name})`
        yield* outbox.append([{ id, topic: "t", key: "k", payload: new Uint8Array(), headers: {} }])
        return name
      })
      const [one, two, three] = [1, 2, 3].map((n) => `00000000-0000-7000-8000-00000000000${n}`)
      const counts =
        sql`SELECT (SELECT count(*) FROM effects)::int AS effects, (SELECT count(*) FROM outbox)::int AS rows,
        (SELECT length FROM sagas) AS entries`
      yield* journal.transact(action("done", one ?? ""), () => writeOf("1"))
      assert.deepStrictEqual(yield* counts, [{ effects: 1, rows: 1, entries: 2 }])
      const refused = yield* Effect.exit(
        journal.transact(action("late", two ?? ""), () => ({ ...writeOf("1", 2), position: 2 }))
      )
      assert.deepStrictEqual(refused, Exit.fail(new LeaseLost({ sagaId: "1" })))
      const failing = Effect.andThen(action("failed", three ?? ""), Effect.fail("no"))
      assert.deepStrictEqual(
        yield* journal.transact(failing, () => ({ ...writeOf("1"), position: 2 })),
        Exit.fail("no")
      )
      assert.deepStrictEqual(yield* counts, [{ effects: 1, rows: 1, entries: 2 }])
    }).pipe(
      Effect.provide(OutboxPg.layer().pipe(Layer.provide(Notifications.layer), Layer.provideMerge(PgSagas.layer())))
    ))

  it.live("law 52: who is paused within a transaction loses it with its lease", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const journal = yield* begun("1")
      const paused = yield* Deferred.make<number>()
      const isGone = yield* Effect.forkChild(Effect.flatMap(Deferred.await(paused), (pid) =>
        sql`SELECT FROM pg_stat_activity WHERE pid = ${pid}`.pipe(
          Effect.delay("10 millis"),
          Effect.repeat({ until: (sessions) => sessions.length === 0 }),
          Effect.timeout("60 seconds")
        )))
      const pause = sql<{ readonly pid: number }>`SELECT pg_backend_pid() AS pid`.pipe(
        Effect.flatMap(([row]) =>
          Deferred.succeed(paused, row?.pid ?? assert.fail("no session"))
        ),
        Effect.andThen(Fiber.join(isGone)),
        Effect.orDie
      )
      const exit = yield* Effect.exit(journal.transact(pause, () => writeOf("1")))
      assert.include(JSON.stringify(exit), "JournalUnavailable")
      assert.strictEqual(Option.getOrThrow(yield* journal.find("1")).entries.length, 1)
    }).pipe(Effect.provide(PgSagas.layer({ lease: "500 millis" }))))

  it.live("a write that can't be made does not harm those beside it", () =>
    Effect.gen(function*() {
      const journal = yield* Journal
      const owner = yield* journal.join
      const ids = ["a", "b\u0000", "c", "d".repeat(513), "e"]
      const exits = yield* Effect.forEach(ids, (id) => Effect.exit(journal.create(saga(id, owner), first)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [true, false, true, false, true])
    }).pipe(Effect.provide(PgSagas.layer())))

  it.live("an entry that somebody has damaged stands in its place as it is", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const journal = yield* begun("1")
      yield* journal.append(writeOf("1"))
      yield* sql`UPDATE saga_entries SET entries = '"damaged"' WHERE position = 0`
      yield* sql`UPDATE sagas SET first_error = '{"a": 1}', parking = '[]'`
      const damaged = Option.getOrThrow(yield* journal.find("1"))
      assert.deepStrictEqual(damaged.entries, ["damaged", entry("b")])
      assert.strictEqual(damaged.status.firstError?.error.tag, "Unreadable")
      assert.strictEqual(damaged.status.parking?.reason, "journal-unreadable")
      yield* sql`DELETE FROM saga_entries WHERE position = 0`
      assert.deepStrictEqual(Option.getOrThrow(yield* journal.find("1")).entries, [null, entry("b")])
    }).pipe(Effect.provide(PgSagas.layer())))

  it.live("what ended long ago is forgotten; what is parked or runs is not", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const journal = yield* Journal
      const owner = yield* journal.join
      const states = ["completed", "compensated", "parked", "running"] as const
      for (const state of states) {
        yield* journal.create(saga(state, owner), {
          ...first,
          status: { ...started, state },
          isLast: state !== "running"
        })
      }
      yield* sql`UPDATE sagas SET ended_at = ended_at - interval '1 day'`
      const left = yield* sql<{ readonly id: string }>`SELECT id FROM sagas ORDER BY id`.pipe(
        Effect.delay("10 millis"),
        Effect.repeat({ until: (rows) => rows.length === 2 }),
        Effect.timeout("60 seconds")
      )
      assert.deepStrictEqual(left.map(({ id }) => id), ["parked", "running"])
      assert.strictEqual((yield* sql`SELECT FROM saga_entries`).length, 2)
    }).pipe(Effect.provide(PgSagas.layer({ remember: "1 hour", forgetEvery: "20 millis" }))))

  it.live("law 52: of an owner whose process is gone the lease is cut short", () =>
    Effect.gen(function*() {
      const gone = yield* Scope.make()
      const process = yield* Scope.provide(Layer.build(Layer.fresh(PgSagas.journal({ lease: "1 hour" }))), gone)
      const former = Context.get(process, Journal)
      const owner = yield* former.join
      yield* former.create(saga("1", owner), first)
      const sql = yield* SqlClient.SqlClient
      // Its connection for notifications may need a while
      yield* Effect.andThen(former.keep(owner, []), sql`SELECT FROM saga_owners WHERE presence IS NOT NULL`).pipe(
        Effect.delay("10 millis"),
        Effect.repeat({ until: (rows) => rows.length > 0 }),
        Effect.timeout("60 seconds")
      )
      yield* Scope.close(gone, Exit.void)
      const journal = Context.get(yield* Layer.build(Layer.fresh(PgSagas.journal({ lease: "1 hour" }))), Journal)
      const other = yield* journal.join
      const claimed = yield* Effect.andThen(
        journal.keep(other, []),
        journal.claim(other, [{ name: "test", version: 1 }], 10)
      ).pipe(
        Effect.delay("20 millis"),
        Effect.repeat({ until: (records) => records.length > 0 }),
        Effect.timeout("60 seconds")
      )
      assert.deepStrictEqual(claimed.map(({ id, recoveries }) => [id, recoveries]), [["1", 1]])
    }).pipe(Effect.scoped, Effect.provide(PgSagas.database)))
})
