import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { journalContract, Leases } from "./JournalContract.ts"
import * as PgSagas from "./PgSagas.ts"

const leases = Layer.effect(
  Leases,
  Effect.map(SqlClient.SqlClient, (sql) => ({
    end: (owner: string) =>
      Effect.orDie(sql`UPDATE saga_owners SET expires_at = clock_timestamp() WHERE id = ${owner}::uuid`)
  }))
)

journalContract("JournalPg", Layer.provideMerge(leases, PgSagas.layer()), { isVirtual: false })
