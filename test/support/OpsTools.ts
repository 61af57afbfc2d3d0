/** The programs that operators watch with, where they are installed; and servers of them that end with the scope. */
import { describe } from "@effect/vitest"
import { Deferred, Effect, Schedule } from "effect"
import { execFile, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"

const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"]
const find = (...names: ReadonlyArray<string>) =>
  folders.flatMap((folder) => names.map((name) => join(folder, name))).find((path) => existsSync(path))

/** Debian's names first. */
const programs = {
  promtool: find("promtool"),
  amtool: find("amtool"),
  prometheus: find("prometheus"),
  alertmanager: find("prometheus-alertmanager", "alertmanager")
}

type Tool = keyof typeof programs

/** Tests that need these programs: skipped by name where one is missing, unless `MAAS_TESTS_SKIP_NOTHING=1`. */
export const describeWith = (...tools: ReadonlyArray<Tool>) =>
  describe.skipIf(
    tools.some((tool) => programs[tool] === undefined) && process.env["MAAS_TESTS_SKIP_NOTHING"] !== "1"
  )

const pathOf = (tool: Tool): Effect.Effect<string> => {
  const path = programs[tool]
  return path === undefined ? Effect.die(new Error(`${tool} is not installed`)) : Effect.succeed(path)
}

/** Runs a program to its end. */
export const run = (tool: Tool, args: ReadonlyArray<string>) =>
  Effect.flatMap(
    pathOf(tool),
    (path) =>
      Effect.callback<{ readonly code: number; readonly output: string }>((resume) => {
        execFile(
          path,
          [...args],
          (error, stdout, stderr) =>
            resume(Effect.succeed({ code: error === null ? 0 : Number(error.code ?? 1), output: `${stdout}${stderr}` }))
        )
      })
  )

/**
 * The shell is the server's keeper: it waits on its standard input, which closes when the test run ends in whatever way
 * (SIGKILL included), and then kills the server.
 */
const keeper = `
  "$@" &
  read -r _
  kill -KILL $! 2>/dev/null
  wait
`

/** Starts a server and waits until it says at `ready` that it is. It ends with the scope. */
export const serveCommand = Effect.fnUntraced(function*(
  command: ReadonlyArray<string>,
  ready: string,
  environment: Readonly<Record<string, string>> = {}
) {
  const exited = yield* Deferred.make<void>()
  let output = ""
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn("sh", ["-c", keeper, "keeper", ...command], {
        env: { ...process.env, ...environment },
        stdio: ["pipe", "pipe", "pipe"]
      })
      child.stdout.on("data", (chunk: Buffer) => output += chunk.toString())
      child.stderr.on("data", (chunk: Buffer) => output += chunk.toString())
      child.on("exit", () => Deferred.doneUnsafe(exited, Effect.void))
      return child
    }),
    (child) => Effect.andThen(Effect.sync(() => child.stdin.end()), Deferred.await(exited))
  )
  yield* Effect.tryPromise(() => fetch(ready)).pipe(
    Effect.filterOrFail(({ ok }) => ok),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("2 minutes"),
    Effect.mapError(() => new Error(`${command[0]} is not ready:\n${output}`)),
    Effect.orDie
  )
})

/** As `serveCommand`, for one of the programs. */
export const serve = (tool: Tool, args: ReadonlyArray<string>, ready: string) =>
  Effect.flatMap(pathOf(tool), (path) => serveCommand([path, ...args], ready))
