/**
 * Fresh, empty databases on the real PostgreSQL server of this test run. Use them with live services (`it.live`, or
 * `layer(…, { excludeTestServices: true })`): a real server does not follow a test clock.
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Schema } from "effect"
import type { Scope } from "effect"
import { SqlSchema } from "effect/sql"
import type { SqlClient, SqlError } from "effect/sql"
import { inject } from "vitest"
import * as DatabaseClient from "../../src/layers/postgres/DatabaseClient.ts"

/** As the program has it, with more patience: databases are made and dropped, while other tests keep the machine busy. */
const clientOf = (url: Redacted.Redacted, options?: Partial<DatabaseClient.DatabaseClientOptions>) =>
  DatabaseClient.layer({
    url,
    maxConnections: 10,
    answerWithin: "60 seconds",
    connectionWithin: "60 seconds",
    connectTimeout: "60 seconds",
    ...options
  })

/** Runs one piece of work on the server's maintenance database. */
const onServer = <A, E>(
  use: (sql: PgClient.PgClient) => Effect.Effect<A, E>
): Effect.Effect<A, E | SqlError.SqlError> =>
  Effect.flatMap(PgClient.PgClient, use).pipe(
    Effect.provide(clientOf(Redacted.make(inject("databaseUrl")), { maxConnections: 1 }), { local: true })
  )

const Name = Schema.Struct({ name: Schema.String })

/** Creates an empty database, dropped with whatever uses it when the scope closes. Returns its URL. */
export const freshDatabase: Effect.Effect<Redacted.Redacted, SqlError.SqlError, Scope.Scope> = Effect.gen(function*() {
  const database = yield* Effect.acquireRelease(
    onServer((sql) =>
      Effect.gen(function*() {
        const { name } = yield* SqlSchema.findOne({
          Request: Schema.Void,
          Result: Name,
          execute: () => sql`SELECT 'test_' || replace(gen_random_uuid()::text, '-', '') AS name`
        })()
        yield* sql`CREATE DATABASE ${sql(name)} TEMPLATE template0`
        return name
      })
    ).pipe(Effect.catchTags({ NoSuchElementError: Effect.die, SchemaError: Effect.die })),
    (name) => Effect.orDie(onServer((sql) => sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`))
  )
  const url = new URL(inject("databaseUrl"))
  url.pathname = `/${database}`
  return Redacted.make(url.href)
})

/** A client on an existing database, for tests that need several pools on one. */
export const layerOf = clientOf

/** A client on a fresh, empty database. Each place that provides this layer gets a database of its own. */
export const layerFreshWith = (
  options?: Partial<DatabaseClient.DatabaseClientOptions>
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError> =>
  Layer.fresh(Layer.unwrap(Effect.map(freshDatabase, (url) => clientOf(url, options))))

/** A client on a fresh, empty database, with the default pool. */
export const layerFresh: Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError> = layerFreshWith()
