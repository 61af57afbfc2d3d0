/** A PostgreSQL for the time of a measurement, as `npm start` runs it, and databases on it. */
import { NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Effect, FileSystem, Layer, Redacted } from "effect"
import * as SecureRandomNode from "../../src/layers/crypto/SecureRandomNode.ts"
import * as EmbeddedPostgres from "../../src/layers/embedded/EmbeddedPostgres.ts"
import * as DatabaseClient from "../../src/layers/postgres/DatabaseClient.ts"

export const clientOf = (url: Redacted.Redacted, maxConnections = 10) =>
  DatabaseClient.layer({ url, maxConnections, answerWithin: "1 minute", connectionWithin: "1 minute" })

/** Starts the server, and returns what makes a database on it and tells its URL. */
export const start = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "maas-bench-" })
  yield* fs.chmod(directory, 0o755)
  const { url } = yield* EmbeddedPostgres.start({ directory })
  return (name: string) =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      yield* sql`CREATE DATABASE ${sql(name)}`
      const own = new URL(Redacted.value(url))
      own.pathname = `/${name}`
      return Redacted.make(own.href)
    }).pipe(Effect.provide(clientOf(url, 1), { local: true }))
}).pipe(Effect.provide(Layer.mergeAll(NodeServices.layer, SecureRandomNode.layer)))
