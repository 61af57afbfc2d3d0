/** The program from outside: started as a user starts it, spoken to over HTTP only. */
import { Context, Deferred, Effect, Layer, Schedule, Schema } from "effect"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"

const root = join(import.meta.dirname, "../..")
const node = join(root, "node_modules/node/bin/node")

export interface Program {
  readonly url: string
  readonly key: string
  readonly process: ChildProcess
  /** Everything that it has written so far. */
  readonly output: () => string
  readonly exited: Deferred.Deferred<number | null>
}

/** A data folder that is removed when the scope closes. */
export const dataDirectory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "maas-e2e-"))),
  (directory) => Effect.promise(() => rm(directory, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
)

/** Tests ask more in a minute than callers may; those of limits set their own. */
const unlimited = {
  MAAS_LIMIT_MODELS_READ: "off",
  MAAS_LIMIT_INFERENCE: "off",
  MAAS_LIMIT_WRITES: "off",
  MAAS_LIMIT_OTHER: "off",
  MAAS_LIMIT_WRONG_KEYS: "off"
}

const adminKey = "maas_e2e-admin-key-0123456789"

/** A command of the program, started. It is ended with SIGKILL when the scope closes, unless it has ended by then. */
export const launch = Effect.fnUntraced(function*(
  directory: string,
  environment: Readonly<Record<string, string>> = {},
  command: string | ReadonlyArray<string> = "serve"
) {
  const exited = yield* Deferred.make<number | null>()
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(node, [join(root, "src/main.ts"), command].flat(), {
        cwd: directory,
        env: {
          PATH: process.env["PATH"],
          HOME: process.env["HOME"],
          PORT: "0",
          MAAS_DATA_DIR: join(directory, "data"),
          MAAS_ADMIN_KEY: adminKey,
          LOG_FORMAT: "json",
          ...unlimited,
          ...environment
        },
        stdio: ["ignore", "pipe", "pipe"]
      })
      child.stdout.on("data", (chunk: Buffer) => output += chunk.toString())
      child.stderr.on("data", (chunk: Buffer) => output += chunk.toString())
      child.on("exit", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code)))
      return child
    }),
    (child) =>
      Effect.gen(function*() {
        child.kill("SIGKILL")
        yield* Deferred.await(exited)
      })
  )
  return { process: child, output: () => output, exited }
})

/** Runs a command of the program to its end. */
export const run = (
  directory: string,
  command: ReadonlyArray<string>,
  environment: Readonly<Record<string, string>> = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const { exited, output } = yield* launch(directory, environment, command)
    return { code: yield* Deferred.await(exited), output: output() }
  }))

/** `maas serve` on a free port, ready. */
export const start = Effect.fnUntraced(function*(
  directory: string,
  environment: Readonly<Record<string, string>> = {}
) {
  const launched = yield* launch(directory, environment)
  const { exited, output } = launched
  const url = yield* Effect.suspend(() => {
    const port = /Listening on https?:\/\/[^"]*:([0-9]+)/.exec(output())?.[1]
    return port === undefined ? Effect.fail("not listening yet" as const) : Effect.succeed(`http://127.0.0.1:${port}`)
  }).pipe(
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.raceFirst(
      Effect.flatMap(Deferred.await(exited), (code) => Effect.die(new Error(`ended with ${code}:\n${output()}`)))
    ),
    Effect.timeout("90 seconds")
  )
  return { url, key: adminKey, ...launched } satisfies Program
})

/** Sends the signal to the program's own process, no other, and waits until it has ended. */
export const end = (program: Pick<Program, "process" | "exited">, signal: NodeJS.Signals) =>
  Effect.suspend(() => {
    program.process.kill(signal)
    return Deferred.await(program.exited)
  })

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: unknown
}

export interface RequestOptions {
  readonly body?: string | Uint8Array<ArrayBuffer> | FormData | undefined
  /** Sent as JSON in place of a body. */
  readonly json?: unknown
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** One request; the key is sent unless the headers say otherwise. */
export const request = Effect.fnUntraced(function*(
  { url, key }: Pick<Program, "url" | "key">,
  method: string,
  path: string,
  { body, json, headers }: RequestOptions = {}
) {
  const response = yield* Effect.promise((signal) =>
    fetch(`${url}${path}`, {
      method,
      signal,
      headers: {
        authorization: `Bearer ${key}`,
        ...(json === undefined ? {} : { "content-type": "application/json" }),
        ...headers
      },
      body: json === undefined ? body ?? null : JSON.stringify(json)
    })
  )
  const text = yield* Effect.promise(() => response.text())
  const isJson = (response.headers.get("content-type") ?? "").includes("json")
  const answer: Answer = {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson
      ? yield* Schema.decodeEffect(Schema.fromJsonString(Schema.Unknown))(text).pipe(Effect.orDie)
      : undefined
  }
  return answer
})

const models = join(root, "test/fixtures/models")
export const fixture = (path: string) => Effect.promise(() => readFile(join(models, path)))

const Version = Schema.Struct({ status: Schema.String, error: Schema.Unknown })

/** Creates the model, uploads the file and waits until its version is settled. */
export const deploy = Effect.fnUntraced(function*(program: Program, name: string, bytes: Uint8Array<ArrayBuffer>) {
  yield* request(program, "POST", "/api/v1/models", { json: { name } })
  yield* request(program, "PUT", `/api/v1/models/${name}/versions/1/artifact`, {
    body: bytes,
    headers: { "content-type": "application/octet-stream" }
  })
  const { json } = yield* request(program, "GET", `/api/v1/models/${name}/versions/1?wait=60s`)
  return yield* Effect.orDie(Schema.decodeUnknownEffect(Version)(json))
})

/** One program for the tests of a file. */
export class Running extends Context.Service<Running, Program>()("maas/test/support/Program/Running") {
  static readonly layer = Layer.effect(Running, Effect.flatMap(dataDirectory, (directory) => start(directory)))
}

/** As `request`, to the file's program. */
export const call = (method: string, path: string, options?: RequestOptions) =>
  Effect.flatMap(Running, (program) => request(program, method, path, options))
