/** The messaging adapters on a fresh database, with their own tables only. */
import { NodeServices } from "@effect/platform-node"
import { PgMigrator } from "@effect/sql-pg"
import { Layer } from "effect"
import * as EventLogPg from "../../../src/layers/postgres/messaging/EventLogPg.ts"
import * as InboxPg from "../../../src/layers/postgres/messaging/InboxPg.ts"
import eventLog from "../../../src/layers/postgres/messaging/migrations/0001_event_log.ts"
import outbox from "../../../src/layers/postgres/messaging/migrations/0002_outbox.ts"
import inbox from "../../../src/layers/postgres/messaging/migrations/0003_inbox.ts"
import presence from "../../../src/layers/postgres/messaging/migrations/0004_member_presence.ts"
import deadLetters from "../../../src/layers/postgres/messaging/migrations/0005_dead_letters.ts"
import * as Notifications from "../../../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../../../src/layers/postgres/messaging/OutboxPg.ts"
import * as Postgres from "../../support/Postgres.ts"

/** The tables. */
export const migrated = PgMigrator.layer({
  loader: PgMigrator.fromRecord({
    "0001_event_log": eventLog,
    "0002_outbox": outbox,
    "0003_inbox": inbox,
    "0004_member_presence": presence,
    "0005_dead_letters": deadLetters
  }),
  table: "messaging_migrations"
}).pipe(Layer.provide(NodeServices.layer))

/** What one process would have on the given pool. Building it twice makes two processes of it. */
export const adapters = (options?: {
  readonly eventLog?: EventLogPg.EventLogPgOptions
  readonly outbox?: OutboxPg.OutboxPgOptions
  readonly inbox?: InboxPg.InboxPgOptions
}) =>
  Layer.mergeAll(
    EventLogPg.layer(options?.eventLog),
    OutboxPg.layer(options?.outbox),
    InboxPg.layer(options?.inbox)
  ).pipe(Layer.provide(Notifications.layer))

/** A database with the tables, and a pool on it. */
const database = migrated.pipe(Layer.provideMerge(Postgres.layerFreshWith({ maxConnections: 20 })))

export const layer = (options?: Parameters<typeof adapters>[0]) => adapters(options).pipe(Layer.provideMerge(database))
