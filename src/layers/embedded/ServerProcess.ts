import { Duration, Effect, Option, Schedule, Schema } from "effect"
import type { Cluster } from "./Cluster.ts"
import { EmbeddedPostgresFolderUnusable } from "./EmbeddedPostgresError.ts"
import * as OrphanedServer from "./OrphanedServer.ts"
import type { PostgresBinaries } from "./PostgresBinaries.ts"
import * as PostmasterFile from "./PostmasterFile.ts"
import * as ServerLog from "./ServerLog.ts"
import * as ServerSettings from "./ServerSettings.ts"
import * as Subprocess from "./Subprocess.ts"

/** A server that did not come up. `transient`: it was in the way of another process, and may come up the next time. */
class ServerNotStarted extends Schema.TaggedError<ServerNotStarted>()("ServerNotStarted", {
  problem: Schema.String,
  log: Schema.Array(Schema.String),
  transient: Schema.Boolean
}) {}

/** The end of a server: how its process ended, and its last words. */
export interface ServerEnded {
  readonly problem: string
  readonly log: ReadonlyArray<string>
}

/**
 * Runs the server, and ends it when its standard input ends, for which there is one cause: the program closed it, or is
 * no more. So a server stops in the same way after a `kill -9` of the program as on each ordinary stop.
 *
 * The shell is the server's parent. Therefore the server's pid cannot become another process's before the shell has
 * seen its end and ended the watcher, and the shell's end is the server's. Only POSIX is used, for dash, ash and bash.
 */
const supervisor = `
umask 077
trap '' HUP INT TERM
exec 3<&0 </dev/null >>../server.log 2>&1
"$@" 3<&- &
server=$!
(
  # What may be left of the watcher, its last sleep, must not keep the data folder busy.
  cd /
  while read -r line <&3; do :; done
  # Fast shutdown. Said again each second, since a server that has only just been started does not hear it yet.
  tries=0
  while kill -s INT "$server" && [ "$tries" -lt 10 ]; do
    sleep 1
    tries=$((tries + 1))
  done
  # Immediate shutdown: what is committed is safe, the next start recovers it.
  kill -s QUIT "$server"
) >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill -s KILL "$watcher"
wait "$watcher" 2>/dev/null
exit "$status"
`

/** A start may have to recover what a crash left, which `max_wal_size` bounds. */
const readyWithin = Duration.minutes(1)

const readyPoll = Duration.millis(10)

/** Longer than the supervisor takes to come to its last means. */
const stopWithin = Duration.seconds(15)

/**
 * What a server says whose start another process stands in the way of: one on its port, the backends of a killed server,
 * or an orphan that was itself just starting. It is English by `lc_messages`.
 */
const hindrance = /could not bind|pre-existing shared memory block|lock file "postmaster.pid" already exists/

/**
 * Starts the server of a cluster on a port, waits until it accepts connections, and stops it when the scope closes.
 * `ended` waits for the server's end. The caller holds the folder's lock.
 */
export const launch = Effect.fnUntraced(function*(cluster: Cluster, binaries: PostgresBinaries, port: number) {
  yield* OrphanedServer.stop(cluster)
  const before = yield* Effect.orElseSucceed(ServerLog.size(cluster.log), () => 0n)
  const notStarted = (problem: string) =>
    Effect.flatMap(
      ServerLog.linesSince(cluster.log, before),
      (log) => new ServerNotStarted({ problem, log, transient: log.some((line) => hindrance.test(line)) })
    )

  const settings = ServerSettings.forPostgres({ data: cluster.dataForServer, port, id: cluster.id })
  const server = yield* Effect.acquireRelease(
    Subprocess.spawn("/bin/sh", ["-c", supervisor, "supervisor", binaries.postgres, ...settings], {
      account: cluster.account,
      cwd: cluster.data,
      stdio: ["pipe", "ignore", "ignore"]
    }),
    (server) => stop(cluster, server)
  ).pipe(Effect.catchTag("SpawnFailed", (error) => notStarted(error.message)))

  yield* PostmasterFile.read(cluster.data).pipe(
    Effect.repeat({ until: isReadyOn(port), schedule: Schedule.spaced(readyPoll) }),
    Effect.mapError(EmbeddedPostgresFolderUnusable.from(cluster.directory)),
    Effect.raceFirst(Effect.flatMap(server.ended, (ended) => notStarted(describe(ended)))),
    Effect.timeoutOrElse({
      duration: readyWithin,
      orElse: () => notStarted(`it was not ready after ${Duration.format(readyWithin)}`)
    })
  )
  return {
    ended: Effect.flatMap(server.ended, (ended) =>
      Effect.map(
        ServerLog.linesSince(cluster.log, before),
        (log): ServerEnded => ({ problem: describe(ended), log })
      ))
  }
})

/** The port tells the server from an orphan that is ready at this moment. */
const isReadyOn = (expected: number) => (file: Option.Option<PostmasterFile.PostmasterFile>) =>
  Option.exists(file, ({ port, ready }) => ready && Option.contains(port, expected))

/** Also when the supervisor has ended: something may have killed it, and left its server. */
const stop = Effect.fnUntraced(function*(cluster: Cluster, { child, ended }: Subprocess.Subprocess) {
  child.stdin?.destroy()
  yield* Effect.timeoutOption(ended, stopWithin)
  yield* OrphanedServer.stop(cluster).pipe(
    Effect.catch((error) => Effect.logError("The embedded PostgreSQL did not stop", error))
  )
})

const describe = ({ code, signal }: Subprocess.Ended): string =>
  signal === null ? `its process ended with status ${code}` : `its supervisor was killed by ${signal}`
