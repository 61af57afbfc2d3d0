import { Deferred, Duration, Effect, Schedule } from "effect"
import type { Cluster } from "./Cluster.ts"
import type { EmbeddedPostgresFolderUnusable } from "./EmbeddedPostgresError.ts"
import { EmbeddedPostgresExited, EmbeddedPostgresStartFailed } from "./EmbeddedPostgresError.ts"
import { FreePort } from "./FreePort.ts"
import type { PostgresBinaries } from "./PostgresBinaries.ts"
import * as ServerProcess from "./ServerProcess.ts"
import type { ServerEnded } from "./ServerProcess.ts"

/** The wait before the next start doubles from the first to the longest. */
const firstWait = Duration.millis(100)
const longestWait = Duration.seconds(5)

/** A first start that another process hinders is repeated this often, each time on another port: some 3 s in all. */
const firstRetries = 5

/** A server that keeps stopping is started again this often in a row: some 16 s in all. */
const restarts = 8

/** A server that ran this long was well, and an end of it counts as the first again. */
const wellAfter = Duration.minutes(1)

/** A server that is kept running. */
interface Supervised {
  readonly port: number
  /** Fails when the server has stopped and could not be brought back; does not return before that. */
  readonly exited: Effect.Effect<never, EmbeddedPostgresExited>
}

/**
 * Runs the cluster's server until the scope closes. It gets a free port for good: when it stops unexpectedly it is
 * started again on the same one, so that a connection pool finds it again by itself.
 */
export const run = Effect.fnUntraced(function*(cluster: Cluster, binaries: PostgresBinaries) {
  const running = yield* Deferred.make<number, EmbeddedPostgresStartFailed | EmbeddedPostgresFolderUnusable>()
  const givenUp = yield* Deferred.make<never, EmbeddedPostgresExited>()

  /** Returns when the server has ended. */
  const serve = (port: number) =>
    Effect.scoped(Effect.gen(function*() {
      const { ended } = yield* ServerProcess.launch(cluster, binaries, port)
      yield* Deferred.succeed(running, port)
      return { port, ended: yield* ended }
    }))

  const serveFirst = Effect.flatten(FreePort).pipe(
    Effect.flatMap(serve),
    Effect.retry({
      while: (error) => error._tag === "ServerNotStarted" && error.transient,
      times: firstRetries,
      schedule: Schedule.exponential(firstWait)
    }),
    Effect.catchTags({
      NoFreePort: ({ problem }) => new EmbeddedPostgresStartFailed({ directory: cluster.directory, problem, log: [] }),
      ServerNotStarted: ({ log, problem }) =>
        new EmbeddedPostgresStartFailed({ directory: cluster.directory, problem, log })
    })
  )

  const serveAgain = Effect.fnUntraced(function*(port: number, first: ServerEnded) {
    let last = first
    for (let failures = 0; failures < restarts;) {
      const wait = Duration.min(Duration.times(firstWait, 2 ** failures), longestWait)
      yield* Effect.logWarning("The embedded PostgreSQL stopped; starting it again", {
        ...last,
        wait: Duration.format(wait)
      })
      yield* Effect.sleep(wait)
      const [ran, ended] = yield* serve(port).pipe(
        Effect.map(({ ended }) => ended),
        Effect.catch((error) =>
          Effect.succeed<ServerEnded>({ problem: error.problem, log: "log" in error ? error.log : [] })
        ),
        Effect.timed
      )
      last = ended
      failures = Duration.isGreaterThan(ran, wellAfter) ? 0 : failures + 1
    }
    const exited = new EmbeddedPostgresExited({ directory: cluster.directory, ...last })
    yield* Effect.logError(exited.message)
    return yield* exited
  })

  yield* serveFirst.pipe(
    Effect.onError((cause) => Deferred.failCause(running, cause)),
    Effect.flatMap(({ ended, port }) =>
      serveAgain(port, ended).pipe(Effect.onError((cause) => Deferred.failCause(givenUp, cause)))
    ),
    Effect.forkScoped
  )
  const supervised: Supervised = { port: yield* Deferred.await(running), exited: Deferred.await(givenUp) }
  return supervised
})
