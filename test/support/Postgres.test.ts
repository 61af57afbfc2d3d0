import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import * as Postgres from "./Postgres.ts"

const tables = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql<{ name: string }>`SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'`
)

const createTable = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`CREATE TABLE only_here (id int)`)

describe("Postgres", () => {
  it.live("each provision is an empty database of its own", () =>
    Effect.gen(function*() {
      const withTable = yield* createTable.pipe(Effect.andThen(tables), Effect.provide(Postgres.layerFresh))
      const other = yield* tables.pipe(Effect.provide(Postgres.layerFresh))
      assert.deepStrictEqual(withTable, [{ name: "only_here" }])
      assert.deepStrictEqual(other, [])
    }))

  it.live("several clients share one database", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.freshDatabase
      yield* Effect.provide(createTable, Postgres.layerOf(url))
      assert.deepStrictEqual(yield* Effect.provide(tables, Postgres.layerOf(url)), [{ name: "only_here" }])
    }))
})
