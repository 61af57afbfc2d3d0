import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Path, String } from "effect"
import * as EmbeddedPostgres from "../embedded/EmbeddedPostgres.ts"
import { Settings } from "../settings/Settings.ts"

/** How long a statement may wait for a connection of the pool, or for the server to accept one. */
const connectTimeout = "5 seconds"

/** The server of `DATABASE_URL`, or an embedded one in the data folder that ends with the program. */
const url = Effect.gen(function*() {
  const { databaseUrl, dataDirectory } = yield* Settings
  if (databaseUrl !== undefined) return databaseUrl
  const path = yield* Path.Path
  const embedded = yield* EmbeddedPostgres.start({ directory: path.resolve(dataDirectory, "postgres") })
  return embedded.url
})

export const layer = Layer.unwrap(Effect.gen(function*() {
  const { databasePool } = yield* Settings
  return PgClient.layer({
    url: yield* url,
    applicationName: "maas",
    maxConnections: databasePool,
    connectTimeout,
    transformQueryNames: String.camelToSnake,
    transformResultNames: String.snakeToCamel,
    transformJson: false
  })
}))
