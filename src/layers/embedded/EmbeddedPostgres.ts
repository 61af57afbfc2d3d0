import type { Scope } from "effect"
import { Effect, FileSystem, Option, Path, Redacted, Schedule } from "effect"
import type { SecureRandom } from "effect/crypto/SecureRandom"
import * as Cluster from "./Cluster.ts"
import { EmbeddedPostgresFolderUnusable, EmbeddedPostgresInUse } from "./EmbeddedPostgresError.ts"
import type { EmbeddedPostgresError, EmbeddedPostgresExited } from "./EmbeddedPostgresError.ts"
import * as FolderLock from "./FolderLock.ts"
import * as PostgresBinaries from "./PostgresBinaries.ts"
import * as PostmasterFile from "./PostmasterFile.ts"
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

  return { url: urlOf(cluster.password, port), port, exited }
})

const urlOf = (password: Redacted.Redacted, port: number) =>
  Redacted.make(
    `postgres://${ServerSettings.role}:${Redacted.value(password)}@127.0.0.1:${port}/${ServerSettings.database}`
  )

/** A server that is just being started is waited for this long. */
const startsWithin = Schedule.upTo(Schedule.spaced("100 millis"), { times: 100 })

/**
 * The URL of the server that another program runs in `directory`, for who may read its password. It ends with that
 * program, and has another port after each start.
 */
export const running = Effect.fn("EmbeddedPostgres.running")(
  function*(directory: string) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const folder = yield* Cluster.folderOf(path.resolve(directory))
    const readyPort = Effect.gen(function*() {
      const file = Option.getOrUndefined(yield* PostmasterFile.read(path.join(folder, "data")))
      const port = file?.ready === true ? Option.getOrUndefined(file.port) : undefined
      return port ?? (yield* new EmbeddedPostgresInUse({ directory, pid: null }))
    })
    const port = yield* Effect.retry(readyPort, {
      while: (error) => error._tag === "EmbeddedPostgresInUse",
      schedule: startsWithin
    })
    return urlOf(Redacted.make((yield* fs.readFileString(path.join(folder, "password"))).trim()), port)
  },
  (effect, directory) => Effect.catchTag(effect, "PlatformError", EmbeddedPostgresFolderUnusable.from(directory))
)
