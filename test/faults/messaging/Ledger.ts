/**
 * What business transactions have done and what their events have caused, as rows, so that both can be compared after a
 * fault: every committed event took effect once, none that was rolled back was seen, and order per key held.
 */
import { assert } from "@effect/vitest"
import { Array, Clock, Effect, Layer, Random, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../../../src/messaging/Outbox.ts"
import { OutboxStore } from "../../../src/messaging/OutboxStore.ts"
import { migrated } from "../../contract/messaging/PgMessaging.ts"
import * as Events from "./Events.ts"

const ledger = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`CREATE TABLE committed (id text PRIMARY KEY, key text NOT NULL, n int NOT NULL)`
  yield* sql`CREATE TABLE effects (
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text NOT NULL, key text NOT NULL, n int NOT NULL)`
})

/** The tables of messaging and of the ledger. */
export const tables = Layer.effectDiscard(ledger).pipe(Layer.provide(migrated))

/** About 1 KiB an event. */
const filler = "x".repeat(900)

const eventId = (writer: number, n: number) =>
  `00000000-0000-7000-8000-${writer.toString(16).padStart(4, "0")}${n.toString(16).padStart(8, "0")}`

const transact = Effect.fnUntraced(function*(topic: string, event: Events.Event, isRolledBack: boolean) {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const { id, key, n } = event
  yield* sql.withTransaction(Effect.gen(function*() {
    yield* sql`INSERT INTO committed (id, key, n) VALUES (${id}, ${key}, ${n})`
    yield* outbox.append([{ id, topic, key, headers: {}, payload: Events.encode(event) }])
    if (isRolledBack) return yield* Effect.fail("rolled back")
  }))
})

/**
 * One writer a key, each with one transaction after the other until interrupted; some are rolled back. What became of
 * one that failed because the server went away nobody knows but the rows.
 */
export const write = (topic: string, options: { readonly keys: number; readonly pauseMillis: number }) =>
  Effect.forEach(
    Array.range(1, options.keys),
    Effect.fnUntraced(function*(writer) {
      for (let n = 1;; n++) {
        const isRolledBack = (yield* Random.next) < 0.15
        const event = { id: eventId(writer, n), key: `key-${writer}`, n, filler }
        const result = yield* Effect.exit(transact(topic, event, isRolledBack))
        yield* Effect.sleep(result._tag === "Success" || isRolledBack ? options.pauseMillis : 100)
      }
    }),
    { concurrency: "unbounded", discard: true }
  )

const count = (table: "committed" | "effects") =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(
      sql<{ readonly count: bigint }>`SELECT count(*) AS count FROM ${sql(table)}`,
      ([row]) => Number(row?.count ?? 0)
    ))

/** Waits until so many more events have taken effect. */
export const moreEffects = Effect.fnUntraced(function*(more: number) {
  const now = count("effects")
  const wanted = (yield* Effect.retry(now, Schedule.spaced("100 millis"))) + more
  yield* now.pipe(
    Effect.orElseSucceed(() => 0),
    Effect.delay("50 millis"),
    Effect.repeat({ until: (effects) => effects >= wanted }),
    Effect.timeoutOrElse({
      duration: "3 minutes",
      orElse: () => Effect.die(new Error(`not in time: ${more} more effects`))
    })
  )
})

/** Milliseconds without any further effect: what has none by then will have none, however slow the machine is. */
const standstill = 60_000

/** Waits until everything that was committed has gone its way, and compares. Returns how much that was. */
export const settle = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const store = yield* OutboxStore
  const committed = yield* count("committed")
  let seen = 0
  let since = yield* Clock.currentTimeMillis
  yield* Effect.all([store.backlog, count("effects"), Clock.currentTimeMillis]).pipe(
    Effect.map(([backlog, effects, now]) => {
      if (effects !== seen) [seen, since] = [effects, now]
      return (backlog.count === 0 && effects >= committed) || now - since > standstill
    }),
    Effect.orElseSucceed(() => false),
    Effect.delay("50 millis"),
    Effect.repeat({ until: (isOver) => isOver }),
    Effect.timeoutOption("3 minutes")
  )
  const ids = Effect.map((rows: ReadonlyArray<{ readonly id: string }>) => rows.map(({ id }) => id))
  const found = yield* Effect.all({
    lost: ids(sql<{ id: string }>`
      SELECT id FROM committed WHERE id NOT IN (SELECT id FROM effects) ORDER BY id LIMIT 5`),
    doubled: ids(sql<{ id: string }>`
      SELECT id FROM effects GROUP BY id HAVING count(*) > 1 ORDER BY id LIMIT 5`),
    unfounded: ids(sql<{ id: string }>`
      SELECT id FROM effects WHERE id NOT IN (SELECT id FROM committed) ORDER BY id LIMIT 5`),
    disordered: ids(sql<{ id: string }>`
      SELECT id FROM (SELECT id, n, lag(n) OVER (PARTITION BY key ORDER BY seq) AS previous FROM effects) AS e
      WHERE previous > n ORDER BY id LIMIT 5`)
  })
  assert.deepStrictEqual(found, { lost: [], doubled: [], unfounded: [], disordered: [] })
  return committed
})
