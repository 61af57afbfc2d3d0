import { Duration, Effect, FileSystem, Option, Schedule } from "effect"
import type { Cluster } from "./Cluster.ts"
import { EmbeddedPostgresFolderUnusable, EmbeddedPostgresStartFailed } from "./EmbeddedPostgresError.ts"
import * as PostmasterFile from "./PostmasterFile.ts"
import * as ServerSettings from "./ServerSettings.ts"
import * as Subprocess from "./Subprocess.ts"

/** Shutdown modes by signal, politest first (https://www.postgresql.org/docs/18/server-shutdown.html). */
const attempts = [
  { signal: "SIGINT", patience: Duration.seconds(10) },
  { signal: "SIGQUIT", patience: Duration.seconds(5) },
  { signal: "SIGKILL", patience: Duration.seconds(5) }
] as const

const pollEvery = Duration.millis(20)

/**
 * Leaves the cluster without a server and without a `postmaster.pid`: a server that still runs on it is stopped. The
 * caller holds the folder's lock, so whoever started that server is gone. It is stopped and not adopted, because it is
 * stopping already, since its supervisor saw its program go, and because a server that is not this program's child
 * could neither be watched for its end nor be tied to this program's.
 *
 * The pid in the file may have become another process's, which is not to be touched, and beside which PostgreSQL would
 * refuse to start, as it would beside an empty file. To remove the file is safe: processes of a server that was killed are found by PostgreSQL through
 * their shared memory, whose key is the data folder's.
 */
export const stop = Effect.fnUntraced(
  function*(cluster: Cluster) {
    const found = yield* PostmasterFile.read(cluster.data)
    if (Option.isNone(found)) return
    const { pid } = found.value
    if (Option.isSome(pid) && (yield* isServerOf(cluster, pid.value))) yield* stopServer(cluster, pid.value)
    yield* PostmasterFile.remove(cluster.data)
  },
  (effect, cluster) => Effect.catchTag(effect, "PlatformError", EmbeddedPostgresFolderUnusable.from(cluster.directory))
)

const stopServer = Effect.fnUntraced(function*(cluster: Cluster, pid: number) {
  yield* Effect.logWarning("Stopping a PostgreSQL server that lost its program", { pid })
  for (const { patience, signal } of attempts) {
    yield* send(pid, signal)
    const gone = yield* isServerOf(cluster, pid).pipe(
      Effect.repeat({ while: (running) => running, schedule: Schedule.spaced(pollEvery) }),
      Effect.timeoutOption(patience)
    )
    if (Option.isSome(gone)) return
  }
  return yield* new EmbeddedPostgresStartFailed({
    directory: cluster.directory,
    problem: `an earlier server of this folder (pid ${pid}) cannot be stopped`,
    log: []
  })
})

/** Whether `pid` is this cluster's server: its command line names the cluster, which no other's does. */
const isServerOf = (cluster: Cluster, pid: number) =>
  Effect.map(commandLine(pid), (words) => words.includes(`cluster_name=${ServerSettings.clusterName(cluster.id)}`))

/** The words of a process's command line; none when it does not exist or has ended and not been reaped. */
const commandLine = Effect.fnUntraced(function*(pid: number) {
  if (process.platform === "linux") {
    const fs = yield* FileSystem.FileSystem
    const text = yield* Effect.orElseSucceed(fs.readFileString(`/proc/${pid}/cmdline`), () => "")
    return text.split("\0")
  }
  return yield* Subprocess.run("ps", ["-ww", "-o", "args=", "-p", `${pid}`], { account: Option.none(), cwd: "/" }).pipe(
    Effect.map(({ output }) => output.split(/\s+/)),
    Effect.orElseSucceed((): ReadonlyArray<string> => [])
  )
})

/** A pid that ended in between is what was wanted. */
const send = (pid: number, signal: NodeJS.Signals) => Effect.ignore(Effect.try(() => process.kill(pid, signal)))
