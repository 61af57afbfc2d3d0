import { PgMigrator } from "@effect/sql-pg"
import registry from "./migrations/0001_create_registry.ts"
import access from "./migrations/0002_create_access.ts"

export const layer = PgMigrator.layer({
  loader: PgMigrator.fromRecord({
    "0001_create_registry": registry,
    "0002_create_access": access
  }),
  table: "maas_migrations"
})
