/** Runs a saga on the database of its first argument, and says when it is in the middle of its step. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import * as DatabaseClient from "../../src/layers/postgres/DatabaseClient.ts"
import * as Notifications from "../../src/layers/postgres/messaging/Notifications.ts"
import * as JournalPg from "../../src/layers/postgres/saga/JournalPg.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import { lease, paused } from "./PausedSaga.ts"

const [, , url = ""] = process.argv

const program = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const saga = paused(({ checkFence }) =>
    Effect.gen(function*() {
      yield* Console.log("working")
      // Long enough to be stopped in, and over before the lease is
      yield* Effect.sleep("5 seconds")
      yield* checkFence
      yield* Effect.orDie(sql`INSERT INTO effects VALUES ('former owner')`)
      return "former owner"
    })
  )
  const handle = yield* (yield* Sagas).register(saga)
  yield* handle.start("1", 1)
  return yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.provide(
    SagasModule.layer({ poll: "1 hour" }).pipe(
      Layer.provide(JournalPg.layer({ lease })),
      Layer.provide(Notifications.layer),
      Layer.provideMerge(DatabaseClient.layer({
        url: Redacted.make(url),
        maxConnections: 5,
        answerWithin: "20 seconds",
        connectionWithin: "20 seconds"
      }))
    )
  )
)

NodeRuntime.runMain(program)
