import type { Scope } from "effect"
import { Effect, FileSystem, Path, Redacted } from "effect"
import type { SecureRandom } from "effect/crypto/SecureRandom"
import * as Cluster from "./Cluster.ts"
import { EmbeddedPostgresFolderUnusable } from "./EmbeddedPostgresError.ts"
import type { EmbeddedPostgresError, EmbeddedPostgresExited } from "./EmbeddedPostgresError.ts"
import * as FolderLock from "./FolderLock.ts"
import * as PostgresBinaries from "./PostgresBinaries.ts"
import * as ServerAccount from "./ServerAccount.ts"
import * as ServerLog from "./ServerLog.ts"
import * as ServerSettings from "./ServerSettings.ts"
import * as Supervision from "./Supervision.ts"

export interface EmbeddedPostgresOptions {
  /** The folder for the database; made when it is not there. One program at a time. */
  readonly directory: string
  /** A PostgreSQL installation (its `bin`, `lib` and `share`) instead of the one that the npm package brings. */
  readonly binaries?: string | undefined
}

/** A server that runs until the scope it was started in closes. */
export interface EmbeddedPostgres {
  /** `postgres://role:password@127.0.0.1:port/database`. It stays valid when the server had to be started again. */
  readonly url: Redacted.Redacted<string>
  readonly port: number
  /** Fails when the server has stopped and could not be brought back; does not return before that. */
  readonly exited: Effect.Effect<never, EmbeddedPostgresExited>
}

/**
 * Starts a real PostgreSQL in `directory`, on a free port of 127.0.0.1. It stops with the scope, and also, by itself,
 * with the program, however that ends; what is committed is durable. An ordinary user runs it as that user; root, which
 * PostgreSQL refuses, as `postgres` or `nobody`. Nothing is installed and no user made.
 *
 * The folder holds `cluster/` (data, password, log; all of it the server's user's), `owner.lock` and `owner.pid`.
 */
export const start = Effect.fn("EmbeddedPostgres.start")(function*(
  options: EmbeddedPostgresOptions
): Effect.fn.Return<
  EmbeddedPostgres,
  EmbeddedPostgresError,
  FileSystem.FileSystem | Path.Path | SecureRandom | Scope.Scope
> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const directory = path.resolve(options.directory)
  yield* Effect.annotateCurrentSpan({ directory })

  yield* Effect.mapError(
    fs.makeDirectory(directory, { recursive: true }),
    EmbeddedPostgresFolderUnusable.from(directory)
  )
  yield* FolderLock.acquire(directory)
  const account = yield* ServerAccount.forCluster(yield* Cluster.folderOf(directory))
  const binaries = yield* PostgresBinaries.usableBy(
    account,
    options.binaries ?? (yield* PostgresBinaries.locate()),
    [directory, "/var/cache/maas"]
  )
  const cluster = yield* Cluster.open(directory, account, binaries)
  yield* ServerLog.keepBounded(cluster)
  const { exited, port } = yield* Supervision.run(cluster, binaries)
  yield* Effect.logDebug("The embedded PostgreSQL accepts connections", { directory, port })

  const password = Redacted.value(cluster.password)
  const url = `postgres://${ServerSettings.role}:${password}@127.0.0.1:${port}/${ServerSettings.database}`
  return { url: Redacted.make(url), port, exited }
})
