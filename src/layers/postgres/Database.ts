import { ByteSize, Effect, Layer } from "effect"
import { Settings } from "../settings/Settings.ts"
import * as DatabaseClient from "./DatabaseClient.ts"
import { DatabaseUrl } from "./DatabaseUrl.ts"

/** Together the longest that a caller waits for a server that hangs; a statement takes milliseconds. */
const patience = { answerWithin: "4 seconds", connectionWithin: "3 seconds" } as const

/** The pool that everything uses. */
export const layer = Layer.unwrap(Effect.gen(function*() {
  const { databasePool, maxBody } = yield* Settings
  return DatabaseClient.layer({
    ...patience,
    url: yield* DatabaseUrl,
    pool: "main",
    maxConnections: databasePool,
    // The result of a task, or its inputs: `0,` of a body is an FP64 of eight bytes
    maxMessageBytes: 64 * 1024 * 1024 + 4 * ByteSize.toNumberUnsafe(maxBody)
  })
}))

/** For statements that may go over whole tables. */
export const unhurried = Layer.unwrap(
  Effect.map(
    DatabaseUrl,
    (url) => DatabaseClient.layer({ url, maxConnections: 1, answerWithin: "1 hour", connectionWithin: "1 hour" })
  )
)
