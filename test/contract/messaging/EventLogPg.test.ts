import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { eventLogContract, Leases } from "./EventLogContract.ts"
import * as PgMessaging from "./PgMessaging.ts"

const leases = Layer.effect(
  Leases,
  Effect.map(SqlClient.SqlClient, (sql) => ({
    end: (group: string) =>
      Effect.orDie(sql`UPDATE event_log_members SET expires_at = '-infinity' WHERE group_name = ${group}`)
  }))
)

eventLogContract(
  "EventLogPg",
  Layer.provideMerge(leases, PgMessaging.layer({ eventLog: { lease: "3 seconds" } }))
)
