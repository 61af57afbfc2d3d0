import type { PlatformError } from "effect"
import { Duration, Effect, FileSystem, Option, Path, Redacted } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import {
  EmbeddedPostgresFolderUnusable,
  EmbeddedPostgresStartFailed,
  EmbeddedPostgresUnsupported,
  EmbeddedPostgresVersionMismatch
} from "./EmbeddedPostgresError.ts"
import type { PostgresBinaries } from "./PostgresBinaries.ts"
import * as ServerAccount from "./ServerAccount.ts"
import * as ServerSettings from "./ServerSettings.ts"
import * as Subprocess from "./Subprocess.ts"

/** A database cluster on disk, initialised and of the right version. It belongs to the account that runs its server. */
export interface Cluster {
  /** The folder that the caller named. */
  readonly directory: string
  /** PostgreSQL's own folder, as this program names it. */
  readonly data: string
  /** The same folder, as the server's processes name it when it is their working directory. */
  readonly dataForServer: string
  readonly log: string
  /** Random, and on the server's command line: it tells this cluster's server from any other process. */
  readonly id: string
  readonly password: Redacted.Redacted<string>
  readonly account: Option.Option<ServerAccount.ServerAccount>
}

/** The folder below `directory` that holds the cluster and is its server account's. */
export const folderOf = Effect.fnUntraced(function*(directory: string) {
  const path = yield* Path.Path
  return path.join(directory, "cluster")
})

/** Opens the cluster in `directory`, and makes it first where there is none. The caller holds the folder's lock. */
export const open = Effect.fnUntraced(
  function*(directory: string, account: Option.Option<ServerAccount.ServerAccount>, binaries: PostgresBinaries) {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const folder = yield* folderOf(directory)
    const toData = yield* serversWay(directory, account)

    yield* removeUnfinished(directory)
    if (!(yield* fs.exists(folder))) yield* initialise(directory, folder, account, binaries, toData)
    yield* giveTo(account, folder)

    const data = path.join(folder, "data")
    const folderVersion = (yield* fs.readFileString(path.join(data, "PG_VERSION"))).trim()
    if (folderVersion !== binaries.majorVersion) {
      return yield* new EmbeddedPostgresVersionMismatch({
        directory,
        folderVersion,
        serverVersion: binaries.majorVersion
      })
    }
    const cluster: Cluster = {
      directory,
      data,
      dataForServer: toData(data),
      log: path.join(folder, "server.log"),
      id: (yield* fs.readFileString(path.join(folder, "id"))).trim(),
      password: Redacted.make((yield* fs.readFileString(path.join(folder, "password"))).trim()),
      account
    }
    return cluster
  },
  (effect, directory) => Effect.catchTag(effect, "PlatformError", EmbeddedPostgresFolderUnusable.from(directory))
)

/** Begins the name of a folder in which a cluster is being made. */
const unfinished = "unfinished-"

/** `initdb` is given this long: a second is usual, and a slow disk has to take a thousand small files. */
const initialiseWithin = Duration.minutes(2)

/**
 * How the server's processes name their data folder: by its path, or, when the account may not pass through a parent of
 * it (a data folder below a `/root` of mode 0700), as their working directory, into which root puts them.
 *
 * So the data stay where the user wants them: on the volume, in the backup. PostgreSQL wants an absolute path, which on
 * Linux `/proc/self/cwd` is, for each process its own; and the server's processes never leave the data folder.
 */
const serversWay = Effect.fnUntraced(function*(
  directory: string,
  account: Option.Option<ServerAccount.ServerAccount>
): Effect.fn.Return<
  (data: string) => string,
  EmbeddedPostgresFolderUnusable | EmbeddedPostgresUnsupported
> {
  if (Option.isNone(account) || (yield* ServerAccount.canEnter(account.value, directory))) return (data) => data
  if (process.platform === "linux") return () => "/proc/self/cwd"
  return yield* new EmbeddedPostgresFolderUnusable({
    directory,
    problem: `the user ${account.value.name}, as whom the server has to run, may not enter it`
  })
})

/**
 * Makes a cluster under a temporary name and renames it when it is whole and on disk: one that a kill or a power cut
 * left half made is never taken for a cluster. The password is made here, and lies beside the data.
 */
const initialise = Effect.fnUntraced(function*(
  directory: string,
  folder: string,
  account: Option.Option<ServerAccount.ServerAccount>,
  binaries: PostgresBinaries,
  toData: (data: string) => string
): Effect.fn.Return<
  void,
  PlatformError.PlatformError | EmbeddedPostgresStartFailed | EmbeddedPostgresUnsupported,
  FileSystem.FileSystem | Path.Path | SecureRandom
> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const random = yield* SecureRandom
  const failed = (problem: string, output: string) =>
    new EmbeddedPostgresStartFailed({ directory, problem, log: output === "" ? [] : output.split("\n") })

  yield* Effect.logInfo("Making a new database", { directory })
  const staging = yield* fs.makeTempDirectory({ directory, prefix: unfinished })
  const data = path.join(staging, "data")
  const password = path.join(staging, "password")
  const id = path.join(staging, "id")
  yield* fs.makeDirectory(data, { mode: 0o700 })
  const secret = Buffer.from(yield* random.randomBytes(32)).toString("base64url")
  yield* fs.writeFileString(password, `${secret}\n`, { mode: 0o600 })
  yield* fs.writeFileString(id, `${yield* random.uuidV4()}\n`, { mode: 0o600 })
  if (Option.isSome(account)) {
    const { gid, uid } = account.value
    // The folder last: until then nobody else can put a link in the place of what is given away.
    yield* Effect.forEach([data, password, id, staging], (file) => fs.chown(file, uid, gid), { discard: true })
  }
  // The password file by a path from the data folder, which holds in whichever way that folder is named.
  const { code, output } = yield* Subprocess.run(
    binaries.initdb,
    ServerSettings.forInitdb({ data: toData(data), passwordFile: "../password" }),
    { account, cwd: data }
  ).pipe(
    Effect.catchTag("SpawnFailed", (error) => failed(error.message, "")),
    Effect.timeoutOrElse({
      duration: initialiseWithin,
      orElse: () => failed(`initdb took longer than ${Duration.format(initialiseWithin)}`, "")
    })
  )
  if (/could not look up effective user ID/.test(output)) {
    return yield* new EmbeddedPostgresUnsupported({
      platform: process.platform,
      arch: process.arch,
      problem: "PostgreSQL's initdb refuses to run as a user without a name (an entry in /etc/passwd)"
    })
  }
  if (code !== 0) return yield* failed("initdb failed", output)
  yield* fs.rename(staging, folder)
  // A rename is on disk only when the folder that holds the name is.
  yield* Effect.scoped(Effect.flatMap(fs.open(directory, { flag: "r" }), (opened) => opened.sync))
})

/** What is left of clusters whose making was interrupted. An `initdb` may still be writing there, and ends by itself. */
const removeUnfinished = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  for (const name of yield* fs.readDirectory(directory)) {
    if (!name.startsWith(unfinished)) continue
    yield* fs.remove(path.join(directory, name), { recursive: true, force: true }).pipe(
      Effect.catch((error) => Effect.logWarning("An unfinished database could not be removed", { name, error }))
    )
  }
})

/** A cluster that came back from a backup made or restored by root is root's, which PostgreSQL refuses. */
const giveTo = Effect.fnUntraced(function*(account: Option.Option<ServerAccount.ServerAccount>, folder: string) {
  if (Option.isNone(account)) return
  const fs = yield* FileSystem.FileSystem
  const { gid, uid } = account.value
  if (Option.contains((yield* fs.stat(folder)).uid, uid)) return
  const { code, output } = yield* Subprocess.run("chown", ["-R", `${uid >>> 0}:${gid >>> 0}`, folder], {
    account: Option.none(),
    cwd: "/"
  }).pipe(
    Effect.catchTag(
      "SpawnFailed",
      (error) => new EmbeddedPostgresFolderUnusable({ directory: folder, problem: error.message })
    )
  )
  if (code !== 0) return yield* new EmbeddedPostgresFolderUnusable({ directory: folder, problem: output })
})
