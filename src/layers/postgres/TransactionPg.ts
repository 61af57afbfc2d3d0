import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Transaction } from "../../services/Transaction.ts"
import { unavailableOrDie } from "./PgErrors.ts"

export const layer = Layer.effect(
  Transaction,
  Effect.map(SqlClient.SqlClient, (sql) =>
    Transaction.of({
      run: (effect) => unavailableOrDie(sql.withTransaction(effect))
    }))
)
