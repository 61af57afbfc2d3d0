import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Readiness } from "../../services/Readiness.ts"

/** A database that takes longer than this to say that it is there is none to serve from. */
const patience = "2 seconds"

export const layer = Layer.effect(
  Readiness,
  Effect.map(SqlClient.SqlClient, (sql) =>
    Readiness.of({
      check: sql`SELECT 1`.pipe(
        Effect.timeout(patience),
        Effect.match({
          onFailure: ({ message }) => ({ ready: false, checks: { postgres: message } }),
          onSuccess: () => ({ ready: true, checks: { postgres: "ok" } })
        })
      )
    }))
)
