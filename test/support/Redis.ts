/**
 * A real `redis-server` for a test to stop, kill and start again: on a free port of 127.0.0.1, without persistence. Use
 * it with live services (`it.live`): a real server does not follow a test clock.
 */
import { describe } from "@effect/vitest"
import { Context, Effect, Layer, Logger, Redacted, Schedule } from "effect"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { connect } from "node:net"
import { delimiter, join } from "node:path"
import * as Redis from "../../src/layers/redis/Redis.ts"
import type { RedisOptions } from "../../src/layers/redis/Redis.ts"
import { freePort } from "./FreePort.ts"

const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"]
const binary = folders.map((folder) => join(folder, "redis-server")).find((path) => existsSync(path))

/**
 * Tests that need a server. Where no `redis-server` is installed they are skipped by name; with
 * `MAAS_TESTS_SKIP_NOTHING=1` they then fail.
 */
export const describeWithRedis = describe.skipIf(
  binary === undefined && process.env["MAAS_TESTS_SKIP_NOTHING"] !== "1"
)

/**
 * The shell is the server's keeper: it waits on its standard input, which closes when the test run ends in whatever way
 * (SIGKILL included), and then kills the server. So no run leaves a server behind, not even a stopped one.
 */
const keeper = `
  "$@" >/dev/null 2>&1 &
  echo $!
  read -r _
  kill -KILL $! 2>/dev/null
  wait
`

/** Starts a process under a keeper; the effect inside ends both. */
const launch = (command: ReadonlyArray<string>) =>
  Effect.callback<{ readonly pid: number; readonly end: Effect.Effect<void> }>((resume) => {
    const child = spawn("sh", ["-c", keeper, "keeper", ...command], { stdio: ["pipe", "pipe", "ignore"] })
    const end = Effect.callback<void>((resume) => {
      if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
      child.once("exit", () => resume(Effect.void))
      child.stdin.end()
    })
    child.once("error", (error) => resume(Effect.die(error)))
    child.stdout.once("data", (pid: Buffer) => resume(Effect.succeed({ pid: Number(pid.toString()), end })))
  })

/** Sends commands as one would type them, a line each, and answers with all that comes back within the first piece. */
const tellAt = (port: number, lines: ReadonlyArray<string>) =>
  Effect.callback<string, Error>((resume) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(`${lines.join("\r\n")}\r\nQUIT\r\n`))
    let answer = ""
    socket.on("data", (piece) => answer += piece.toString())
    socket.once("end", () => resume(Effect.succeed(answer)))
    socket.once("error", (error) => resume(Effect.fail(error)))
    return Effect.sync(() => socket.destroy())
  })

export interface RedisServerOptions {
  readonly password?: string
  /** The files of its certificate and key: it then speaks TLS to clients, on a port of its own. */
  readonly tls?: { readonly certificate: string; readonly key: string }
}

/** Starts a server that ends with the scope. */
export const start = Effect.fnUntraced(function*(options: RedisServerOptions = {}) {
  if (binary === undefined) return yield* Effect.die(new Error("redis-server is not installed"))
  const port = yield* freePort
  const { password, tls } = options
  const tlsPort = tls === undefined ? undefined : yield* freePort
  const command = [
    binary,
    ...`--port ${port} --bind 127.0.0.1 --appendonly no --save`.split(" "),
    "",
    ...password === undefined ? [] : ["--requirepass", password],
    ...tls === undefined
      ? []
      : [
        "--tls-cert-file",
        tls.certificate,
        "--tls-key-file",
        tls.key,
        "--tls-port",
        `${tlsPort}`,
        "--tls-auth-clients",
        "no",
        "--tls-ca-cert-file",
        tls.certificate
      ]
  ]
  const credentials = password === undefined ? "" : `:${password}@`
  /** What one would type: `PING`. Commands are inline, so arguments hold no spaces. */
  const tell = (...lines: ReadonlyArray<string>) =>
    Effect.orDie(tellAt(port, password === undefined ? lines : [`AUTH ${password}`, ...lines]))

  const launched = Effect.gen(function*() {
    const server = yield* launch(command)
    yield* tellAt(port, password === undefined ? ["PING"] : [`AUTH ${password}`, "PING"]).pipe(
      Effect.filterOrFail((answer) => answer.includes("+PONG"), (answer) => new Error(answer)),
      Effect.retry(Schedule.spaced("10 millis")),
      Effect.timeout("60 seconds"),
      Effect.orDie
    )
    return server
  })
  let server = yield* launched
  yield* Effect.addFinalizer(() => server.end)
  const signal = (name: NodeJS.Signals) => Effect.sync(() => process.kill(server.pid, name))
  const kill = Effect.suspend(() => server.end)

  return {
    port,
    url: Redacted.make(
      tls === undefined ? `redis://${credentials}127.0.0.1:${port}` : `rediss://${credentials}127.0.0.1:${tlsPort}`
    ),
    tell,
    /** Its process is halted: connections stay, nothing is answered. */
    stop: signal("SIGSTOP"),
    /** It goes on after `stop`. */
    cont: signal("SIGCONT"),
    /** It dies at once, with all it knew. */
    kill,
    /** Killed, if it still runs, and started again, empty and on the same port. */
    restart: kill.pipe(
      Effect.andThen(launched),
      Effect.map((again) => {
        server = again
      })
    ),
    /** It forgets all keys and scripts. */
    flush: Effect.asVoid(tell("FLUSHALL", "SCRIPT FLUSH"))
  }
})

export type RedisServer = Effect.Success<ReturnType<typeof start>>

/** For tests that are about other things than a server that is late, as every server is on a machine that is busy. */
export const patient = {
  commandTimeout: "60 seconds",
  connectTimeout: "60 seconds",
  hungAfter: "2 minutes"
} satisfies Partial<RedisOptions>

/** A client of its own; it connects in the background, and logs to nobody but `logger`. */
export const client = (options: RedisOptions, logger?: Logger.Logger<unknown, unknown>) =>
  Layer.build(Redis.layer(options)).pipe(
    Effect.map((context) => Context.get(context, Redis.Redis)),
    Effect.provide(Logger.layer(logger === undefined ? [] : [logger]))
  )

const until = (isConnected: boolean) => (redis: Redis.Redis["Service"]) =>
  redis.isConnected.pipe(
    Effect.repeat({ until: (now) => now === isConnected, schedule: Schedule.spaced("10 millis") }),
    Effect.timeout("60 seconds"),
    Effect.orDie
  )

/** Waits for the connection. */
export const untilConnected = until(true)
/** Waits for its loss. */
export const untilDisconnected = until(false)
