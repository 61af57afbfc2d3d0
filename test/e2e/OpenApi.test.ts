/**
 * The OpenAPI description against the running program, by schemathesis (https://schemathesis.readthedocs.io), a Python
 * tool. The first run installs it into a cache folder.
 */
import { assert, it } from "@effect/vitest"
import { Config, Duration, Effect, Option, Result } from "effect"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdir, rename, rm } from "node:fs/promises"
import { dirname, join } from "node:path"
import { dataDirectory, deploy, fixture, start } from "../support/Program.ts"

const release = "4.32.5"
const folder = join(import.meta.dirname, `../../node_modules/.cache/schemathesis-${release}`)

const run = (command: string, args: ReadonlyArray<string>, timeout: Duration.Duration, cwd?: string) =>
  Effect.callback<{ readonly isWell: boolean; readonly output: string }>((resume) => {
    const options = { timeout: Duration.toMillis(timeout), maxBuffer: 64 * 1024 * 1024, cwd }
    const child = execFile(
      command,
      [...args],
      options,
      (error, stdout, stderr) => resume(Effect.succeed({ isWell: error === null, output: stdout + stderr }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })

/** Where the tool is, or why it can't be had. A half-made folder is never taken for a whole one. */
const schemathesis = Effect.gen(function*() {
  const python = join(folder, "bin/python")
  if (existsSync(join(folder, "complete"))) return Result.succeed(python)
  yield* Effect.promise(() => rm(folder, { recursive: true, force: true }))
  yield* Effect.promise(() => mkdir(dirname(folder), { recursive: true }))
  const made = yield* run("python3", ["-m", "venv", folder], Duration.minutes(1))
  if (!made.isWell) return Result.fail(`python3 -m venv: ${made.output}`)
  const installed = yield* run(
    python,
    ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", `schemathesis==${release}`],
    Duration.minutes(3)
  )
  if (!installed.isWell) return Result.fail(`pip install: ${installed.output}`)
  yield* Effect.promise(() => mkdir(join(folder, "making")))
  yield* Effect.promise(() => rename(join(folder, "making"), join(folder, "complete")))
  return Result.succeed(python)
})

it.live(
  "every operation answers as /openapi.json says, whatever it is sent (schemathesis)",
  (context) =>
    Effect.gen(function*() {
      const tool = yield* schemathesis
      if (Result.isFailure(tool)) {
        const mustRun = yield* Config.option(Config.String("MAAS_TESTS_SKIP_NOTHING"))
        if (Option.isSome(mustRun)) return assert.fail(`schemathesis can't be had: ${tool.failure}`)
        return context.skip(`schemathesis can't be had: ${tool.failure}`)
      }
      const directory = yield* dataDirectory
      const program = yield* start(directory)
      const version = yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
      assert.strictEqual(version.status, "ready")
      const { isWell, output } = yield* run(
        tool.success,
        [
          "-m",
          "schemathesis.cli",
          "run",
          `${program.url}/openapi.json`,
          "--header",
          `Authorization: Bearer ${program.key}`,
          "--header",
          `X-API-Key: ${program.key}`,
          "--checks",
          "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
          "--phases",
          "examples,coverage,fuzzing",
          "--max-examples",
          "15",
          // The same requests in each run
          "--seed",
          "1",
          "--generation-database",
          "none",
          "--request-timeout",
          "60",
          // A stream of events has no end while its version waits for an upload, and the tool reads answers whole
          "--exclude-path-regex",
          "/events$",
          "--continue-on-failure",
          "--no-color"
        ],
        Duration.seconds(400),
        directory
      )
      assert.isTrue(isWell, output)
      assert.match(output, /[0-9]{3,} generated/)
      assert.notInclude(program.output(), "A request failed")
    }),
  600_000
)
