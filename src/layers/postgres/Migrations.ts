import * as PgMigrator from "@effect/sql-pg/PgMigrator"
import eventLog from "./messaging/migrations/0001_event_log.ts"
import outbox from "./messaging/migrations/0002_outbox.ts"
import inbox from "./messaging/migrations/0003_inbox.ts"
import presence from "./messaging/migrations/0004_member_presence.ts"
import deadLetters from "./messaging/migrations/0005_dead_letters.ts"
import registry from "./migrations/0001_create_registry.ts"
import access from "./migrations/0002_create_access.ts"
import keyPlans from "./migrations/0006_add_key_plans.ts"
import tasks from "./migrations/0010_create_tasks.ts"
import modelStates from "./migrations/0012_add_model_states.ts"
import webhooks from "./migrations/0013_create_webhooks.ts"
import sagas from "./saga/migrations/0001_sagas.ts"

/** The tables in the order in which they came to be: numbers here are for ever. */
export const layer = PgMigrator.layer({
  loader: PgMigrator.fromRecord({
    "0001_create_registry": registry,
    "0002_create_access": access,
    "0003_create_event_log": eventLog,
    "0004_create_outbox": outbox,
    "0005_create_inbox": inbox,
    "0006_add_key_plans": keyPlans,
    "0007_add_member_presence": presence,
    "0010_create_tasks": tasks,
    "0011_create_sagas": sagas,
    "0012_add_model_states": modelStates,
    "0013_create_webhooks": webhooks,
    "0014_create_dead_letters": deadLetters
  }),
  table: "maas_migrations"
})
