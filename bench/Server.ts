import { Deferred, Effect, Schedule } from "effect"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")

export interface Server {
  readonly url: string
  readonly pid: number
  /** From the start of the process until it listened, in milliseconds. */
  readonly startMillis: number
}

/** The flags of `npm start`, from package.json, so that what is measured is what users run. */
const startFlags = (): ReadonlyArray<string> => {
  const manifest: unknown = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const start = /scripts\/node ([^"]*) src\/main\.ts serve"/.exec(JSON.stringify(manifest))?.[1] ?? ""
  return start.split(" ").filter((flag) => flag !== "")
}

/** Starts a program and waits until it listens at the URL, or else says where it does; ended with the scope. */
const startProcess = Effect.fnUntraced(function*(
  args: ReadonlyArray<string>,
  env: Readonly<Record<string, string>>,
  silent?: string,
  command: readonly [program: string, ...args: ReadonlyArray<string>] = ["sh", join(root, "scripts/node")]
) {
  const exited = yield* Deferred.make<void>()
  const started = performance.now()
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const [program, ...first] = command
      const child = spawn(program, [...first, ...args], {
        env: { ...process.env, ...env },
        stdio: ["ignore", "pipe", "inherit"]
      })
      child.stdout.on("data", (chunk: Buffer) => output += chunk.toString())
      child.on("exit", () => Deferred.doneUnsafe(exited, Effect.void))
      return child
    }),
    (child) => Effect.andThen(Effect.sync(() => child.kill("SIGTERM")), Deferred.await(exited))
  )
  const answers = (at: string) =>
    Effect.tryPromise(() => fetch(`${at}/health`)).pipe(Effect.filterOrFail(({ ok }) => ok), Effect.as(at))
  const url = yield* Effect.suspend((): Effect.Effect<string, unknown> => {
    if (silent !== undefined) return answers(silent)
    const found = /Listening on (http:\/\/[0-9.:]+)/.exec(output)?.[1]
    return found === undefined ? Effect.fail("not yet" as const) : Effect.succeed(found)
  }).pipe(Effect.retry(Schedule.spaced("5 millis")), Effect.timeout("60 seconds"))
  return { url, pid: child.pid ?? 0, startMillis: performance.now() - started } satisfies Server
})

export interface MaasOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** More flags for Node. */
  readonly flags?: ReadonlyArray<string> | undefined
  /** For one that logs nothing, and so does not say which it took. */
  readonly port?: number | undefined
}

export const startMaas = (directory: string, key: string, { env, flags = [], port }: MaasOptions = {}) =>
  startProcess([...startFlags(), ...flags, join(root, "src/main.ts"), "serve"], {
    PORT: String(port ?? 0),
    MAAS_DATA_DIR: directory,
    MAAS_ADMIN_KEY: key,
    LOG_FORMAT: "json",
    MAAS_LIMIT_MODELS_READ: "off",
    MAAS_LIMIT_INFERENCE: "off",
    MAAS_LIMIT_WRITES: "off",
    ...env
  }, port === undefined ? undefined : `http://127.0.0.1:${port}`)

/** One role of the platform as a process of its own. */
export const startRole = (role: string, env: Readonly<Record<string, string>>) =>
  startProcess([...startFlags(), join(root, "src/main.ts"), "serve", "--role", role], {
    PORT: "0",
    LOG_FORMAT: "json",
    MAAS_LIMIT_MODELS_READ: "off",
    MAAS_LIMIT_INFERENCE: "off",
    MAAS_LIMIT_WRITES: "off",
    ...env
  })

/** The same read in Python: see `peers/models_api.py`. */
export const startFastApi = (python: string, env: Readonly<Record<string, string>>) =>
  startProcess([join(root, "bench/peers/models_api.py")], env, undefined, [python])

export const startBare = startProcess([join(root, "bench/BareServer.ts")], {})

/** Resident memory of a process, in MiB. */
export const residentMiB = (pid: number): number =>
  Number(/VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024

/** Time of processors that a process has taken, in seconds: user and system, proc(5). */
export const cpuSeconds = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) / 100
}
