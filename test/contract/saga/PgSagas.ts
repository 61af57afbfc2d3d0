/** The journal of sagas on a fresh database, with its own tables and those of messages. */
import { NodeServices } from "@effect/platform-node"
import { PgMigrator } from "@effect/sql-pg"
import { Layer } from "effect"
import outbox from "../../../src/layers/postgres/messaging/migrations/0002_outbox.ts"
import * as Notifications from "../../../src/layers/postgres/messaging/Notifications.ts"
import * as JournalPg from "../../../src/layers/postgres/saga/JournalPg.ts"
import sagas from "../../../src/layers/postgres/saga/migrations/0001_sagas.ts"
import * as Postgres from "../../support/Postgres.ts"

/** The tables. */
export const migrated = PgMigrator.layer({
  loader: PgMigrator.fromRecord({ "0001_sagas": sagas, "0002_outbox": outbox }),
  table: "saga_migrations"
}).pipe(Layer.provide(NodeServices.layer))

/** What one process would have on the given pool. Building it twice makes two processes of it. */
export const journal = (options?: JournalPg.JournalPgOptions) =>
  JournalPg.layer(options).pipe(Layer.provide(Notifications.layer))

/** A database with the tables, and a pool on it. */
export const database = migrated.pipe(Layer.provideMerge(Postgres.layerFreshWith({ maxConnections: 10 })))

export const layer = (options?: JournalPg.JournalPgOptions) => journal(options).pipe(Layer.provideMerge(database))
