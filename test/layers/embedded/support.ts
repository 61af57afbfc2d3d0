import { NodeCrypto, NodeServices } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg"
import { Clock, Deferred, Duration, Effect, Exit, FileSystem, Layer, Logger, Option, Schedule, Schema } from "effect"
import type { Redacted } from "effect"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { join } from "node:path"

/** What `EmbeddedPostgres.start` needs; what it logs is not the tests' output. */
export const services = Layer.mergeAll(NodeServices.layer, NodeCrypto.layerSecureRandom, Logger.layer([]))

export const isRoot = process.getuid?.() === 0

/** Any user's but root's: `nobody` on most systems, and one that owns nothing here. */
export const nobody = 65_534

/** A folder of the test's own, which every user may enter, removed afterwards. */
export const temporaryFolder = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const folder = yield* fs.makeTempDirectoryScoped({ prefix: "maas-embedded-" })
  yield* fs.chmod(folder, 0o755)
  return folder
})

/** Runs statements on a connection of their own. */
export const query = (url: Redacted.Redacted<string>, ...statements: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    return yield* Effect.forEach(statements, (statement) => sql.unsafe<Record<string, unknown>>(statement))
  }).pipe(
    Effect.map((results) => results.flat()),
    Effect.provide(PgClient.layer({ url, maxConnections: 1, connectTimeout: "60 seconds" }), { local: true })
  )

/** Waits until the condition holds, for a minute at most. */
export const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>) =>
  condition.pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("20 millis") }),
    Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.die(new Error(`${what}: not in time`)) })
  )

/** The pid that the server on this data folder wrote down. */
export const serverPid = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const file = yield* fs.readFileString(join(directory, "cluster", "data", "postmaster.pid"))
  return Number.parseInt(file, 10)
})

/** The pid of the program that says that it holds this folder. */
export const holder = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  return Number(yield* Effect.orElseSucceed(fs.readFileString(join(directory, "owner.pid")), () => "0"))
})

/** Runs an effect on a clock whose sleeps are a tenth as long. */
export const hurried = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.clockWith((real) => {
    const clock: Clock.Clock = Object.create(real, {
      sleep: { value: (duration: Duration.Duration) => real.sleep(Duration.divideUnsafe(duration, 10)) }
    })
    return Effect.provideService(self, Clock.Clock, clock)
  })

/** Whether a process is there and not merely waiting to be reaped. */
export const isRunning = (pid: number) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const stat = yield* Effect.option(fs.readFileString(`/proc/${pid}/stat`))
    return Option.exists(stat, (text) => !/\) [ZX] /.test(text))
  })

/** The processes that work in this folder, as a server's and an `initdb`'s do; found on Linux only. */
export const processesIn = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const pids = (yield* fs.readDirectory("/proc")).filter((name) => /^\d+$/.test(name))
  return yield* Effect.filter(pids, (pid) =>
    fs.readLink(`/proc/${pid}/cwd`).pipe(
      Effect.map((cwd) => cwd.startsWith(directory)),
      Effect.orElseSucceed(() => false)
    ))
})

const Said = Schema.fromJsonString(Schema.Union([
  Schema.Struct({ url: Schema.RedactedFromValue(Schema.String), port: Schema.Int }),
  Schema.Struct({ error: Schema.String, message: Schema.String })
]))

/** Starts program.ts, as another user if asked to. It is killed when the scope closes. */
export const launching = Effect.fnUntraced(function*(args: ReadonlyArray<string>, uid?: number) {
  const said = yield* Deferred.make<string>()
  const ended = yield* Deferred.make<number | null>()
  const child = yield* Effect.acquireRelease(
    Effect.sync((): ChildProcess => {
      const file = new URL("program.ts", import.meta.url).pathname
      const child = spawn(process.execPath, [file, ...args], {
        stdio: ["ignore", "pipe", "inherit"],
        ...(uid === undefined ? {} : { uid, gid: uid })
      })
      let output = ""
      child.stdout.setEncoding("utf8").on("data", (text) => {
        output += text
        const line = output.split("\n").slice(0, -1).find((line) => line.startsWith("{"))
        if (line !== undefined) Deferred.doneUnsafe(said, Exit.succeed(line))
      })
      child.once("exit", (code) => {
        Deferred.doneUnsafe(ended, Exit.succeed(code))
        Deferred.doneUnsafe(said, Exit.die(new Error(`program.ts ended without a line: ${output}`)))
      })
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  return {
    pid: child.pid ?? 0,
    said: Effect.flatMap(Deferred.await(said), Schema.decodeUnknownEffect(Said)),
    kill: (signal: NodeJS.Signals) => Effect.asVoid(Effect.sync(() => child.kill(signal))),
    ended: Deferred.await(ended)
  }
})

/** Starts program.ts, as another user if asked to, and waits for its line. */
export const program = Effect.fnUntraced(function*(args: ReadonlyArray<string>, uid?: number) {
  const started = yield* launching(args, uid)
  return { ...started, said: yield* started.said }
})

/** Starts program.ts and expects it to have a server. */
export const serving = Effect.fnUntraced(function*(args: ReadonlyArray<string>, uid?: number) {
  const started = yield* program(args, uid)
  if ("error" in started.said) return yield* Effect.die(new Error(started.said.message))
  return { ...started, ...started.said }
})
