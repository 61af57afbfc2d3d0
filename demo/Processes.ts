/** Processes of the demo: each ends with it, and what it wrote is shown when it ends too early. */
import { Data, Deferred, Effect } from "effect"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { delimiter, join } from "node:path"
import type { NotAsPromised } from "./Narrator.ts"

export class ProcessFailed extends Data.TaggedError("ProcessFailed")<{
  readonly name: string
  readonly output: string
}> {
  override get message() {
    return `${this.name} did not start:\n${this.output}`
  }
}

export interface Running {
  readonly pid: number
  readonly output: () => string
  readonly signal: (signal: NodeJS.Signals) => Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

/** Where a command is installed; undefined where it is not. */
export const find = (command: string): string | undefined =>
  [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin"]
    .map((folder) => join(folder, command))
    .find((path) => existsSync(path))

export interface StartOptions {
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly environment?: Readonly<Record<string, string>> | undefined
  /** Its standard input stays open until it is to end: for commands that end with it. */
  readonly keepsInput?: boolean | undefined
  readonly cwd?: string | undefined
}

/** The end of what a process wrote is kept. */
const mostOutput = 64 * 1024

/** Starts a process. When the scope closes it is told to end, and killed after ten seconds. */
export const start = Effect.fnUntraced(function*(options: StartOptions) {
  const ended = yield* Deferred.make<void>()
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(options.command, options.args, {
        cwd: options.cwd,
        env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...options.environment },
        stdio: [options.keepsInput === true ? "pipe" : "ignore", "pipe", "pipe"],
        // A session of its own: Ctrl-C is for the demo, which then ends them in order
        detached: true
      })
      const keep = (chunk: Buffer) => {
        output = (output + chunk.toString()).slice(-mostOutput)
      }
      child.stdout?.on("data", keep)
      child.stderr?.on("data", keep)
      child.on("error", (error) => keep(Buffer.from(String(error))))
      child.on("close", () => Deferred.doneUnsafe(ended, Effect.void))
      return child
    }),
    (child) =>
      Effect.sync(() => {
        // One that was stopped could not end
        child.kill("SIGCONT")
        if (options.keepsInput === true) child.stdin?.end()
        else child.kill("SIGTERM")
      }).pipe(
        Effect.andThen(Effect.timeoutOption(Deferred.await(ended), "10 seconds")),
        Effect.andThen(Effect.sync(() => child.kill("SIGKILL")))
      )
  )
  return {
    pid: child.pid ?? 0,
    output: () => output,
    signal: (signal) => Effect.sync(() => void child.kill(signal)),
    ended: Deferred.await(ended)
  } satisfies Running
})

/** Waits until it is there; fails with what it wrote when it ends before, or does not come in time. */
export const untilReady = <A>(
  name: string,
  running: Running,
  look: Effect.Effect<A, NotAsPromised>
): Effect.Effect<A, ProcessFailed> =>
  look.pipe(
    Effect.mapError(({ seen }) => new ProcessFailed({ name, output: `${seen}\n${running.output()}` })),
    Effect.raceFirst(
      Effect.flatMap(running.ended, () => Effect.fail(new ProcessFailed({ name, output: running.output() })))
    )
  )
