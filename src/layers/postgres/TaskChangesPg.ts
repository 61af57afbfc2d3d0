import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { TaskChanges } from "../../services/TaskChanges.ts"
import { channel, Notifications } from "./messaging/Notifications.ts"
import { query } from "./PgErrors.ts"

const subjectOf = (id: string): string => `task:${id}`

/** `NOTIFY` reaches every process that listens, at commit and never without one. */
export const layer = Layer.effect(
  TaskChanges,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const notifications = yield* Notifications

    return TaskChanges.of({
      announce: (id) => query(sql`SELECT pg_notify(${channel}, ${subjectOf(id)})`).pipe(Effect.asVoid),
      latch: (id) => notifications.latch(subjectOf(id))
    })
  })
)
