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
      const { databaseUrl } = yield* Settings
      if (databaseUrl !== undefined) return databaseUrl
      const { url } = yield* EmbeddedPostgres.start({ directory: yield* embeddedFolder })
      return url
    })
  )

  /** As `layer`, also while a program runs the embedded server: then that one is used. */
  static readonly shared = Layer.effect(
    DatabaseUrl,
    Effect.gen(function*() {
      const { databaseUrl } = yield* Settings
      if (databaseUrl !== undefined) return databaseUrl
      const directory = yield* embeddedFolder
      return yield* EmbeddedPostgres.start({ directory }).pipe(
        Effect.map(({ url }) => url),
        Effect.catchTag("EmbeddedPostgresInUse", () => EmbeddedPostgres.running(directory))
      )
    })
  )
}

const embeddedFolder = Effect.gen(function*() {
  const { dataDirectory } = yield* Settings
  const path = yield* Path.Path
  return path.resolve(dataDirectory, "postgres")
})
