import { Context, Effect, Layer, Path } from "effect"
import type { Redacted } from "effect"
import * as EmbeddedPostgres from "../embedded/EmbeddedPostgres.ts"
import { Settings } from "../settings/Settings.ts"

/** Where the database is, as `postgres://…`. */
export class DatabaseUrl extends Context.Service<DatabaseUrl, Redacted.Redacted>()(
  "maas/layers/postgres/DatabaseUrl"
) {
  /** The server of `DATABASE_URL`, or an embedded one in the data folder that ends with the program. */
  static readonly layer = Layer.effect(
    DatabaseUrl,
    Effect.gen(function*() {
      const { databaseUrl, dataDirectory } = yield* Settings
      if (databaseUrl !== undefined) return databaseUrl
      const path = yield* Path.Path
      const { url } = yield* EmbeddedPostgres.start({ directory: path.resolve(dataDirectory, "postgres") })
      return url
    })
  )
}
