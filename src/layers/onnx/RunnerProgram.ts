import { Effect, Result } from "effect"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs/promises"
import * as NodeOs from "node:os"
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"

/** How a runner is started. */
export interface RunnerProgram {
  readonly command: string
  readonly args: ReadonlyArray<string>
  /** All of a runner's environment. The program's own holds secrets. */
  readonly env: Readonly<Record<string, string>>
  /** Where converted models are written, each in a folder of its own. */
  readonly directory: string
  /** An empty folder. */
  readonly cwd: string
  /** `prlimit`, where the system has it. */
  readonly limitCommand: string | undefined
}

/** V8 with little memory for objects, since tensors lie outside of its heap, and no threads of its own for them. */
const v8Flags = ["--max-old-space-size=256", "--max-semi-space-size=1", "--v8-pool-size=0"]

/**
 * The program's files in a temporary folder that is removed with the scope, and what the system offers. The folder keeps
 * the runner's compiled code, so that only the first one takes the time to strip the types from its source.
 */
export const make = Effect.gen(function*() {
  yield* removeLeftovers
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => NodeFs.mkdtemp(NodePath.join(NodeOs.tmpdir(), `${folderPrefix}${process.pid}-`))),
    (directory) => Effect.promise(() => removeFolder(directory))
  )
  const cwd = NodePath.join(directory, "empty")
  const cache = NodePath.join(directory, "code")
  yield* Effect.promise(() => Promise.all([NodeFs.mkdir(cwd), NodeFs.mkdir(cache)]))
  const node = [
    process.execPath,
    "--no-warnings",
    // Not a sandbox, since ONNX Runtime is native code, but no door that need not be open stays so.
    "--permission",
    "--allow-addons",
    "--allow-fs-read=*",
    `--allow-fs-write=${cache}`,
    ...v8Flags,
    fileURLToPath(new URL("./runner/main.ts", import.meta.url))
  ]
  // A runner notices the end of the program by the end of its channel, but not while a model holds it.
  const orphanGuard = (yield* says("setpriv", ["--help"], /--pdeathsig/))
    ? ["setpriv", "--pdeathsig", "KILL", "--"]
    : []
  const [command = process.execPath, ...args] = [...orphanGuard, ...node]
  return {
    command,
    args,
    env: {
      PATH: process.env["PATH"] ?? "",
      NODE_COMPILE_CACHE: cache,
      LC_ALL: "C.UTF-8",
      MALLOC_ARENA_MAX: "2"
    },
    directory,
    cwd,
    limitCommand: (yield* says("prlimit", ["--help"], /--data/)) ? "prlimit" : undefined
  } satisfies RunnerProgram
})

/** The machine's name is in it because containers that share a folder for temporary files count pids of their own. */
const folderPrefix = `maas-runners-${NodeOs.hostname()}-`

/** Removes the folders of programs that were killed: their process is no more. */
const removeLeftovers = Effect.promise(() => NodeFs.readdir(NodeOs.tmpdir())).pipe(
  Effect.map((names) =>
    names.filter((name) => name.startsWith(folderPrefix) && !isAlive(name.slice(folderPrefix.length)))
  ),
  Effect.flatMap(Effect.forEach(
    // A runner that is just ending may still write there; the next start will find what is left.
    (name) => Effect.ignore(Effect.tryPromise(() => removeFolder(NodePath.join(NodeOs.tmpdir(), name)))),
    { discard: true }
  ))
)

const removeFolder = (folder: string) => NodeFs.rm(folder, { recursive: true, force: true })

const isAlive = (suffix: string): boolean => {
  const [pid] = suffix.split("-")
  return Result.isSuccess(Result.try(() => process.kill(Number(pid), 0)))
}

/** Whether a command of the system is there and mentions an option: those of busybox lack some. */
const says = (command: string, args: ReadonlyArray<string>, expected: RegExp): Effect.Effect<boolean> =>
  process.platform !== "linux" ? Effect.succeed(false) : Effect.callback((resume) => {
    const started = Result.try(() =>
      NodeChildProcess.execFile(
        command,
        args,
        { timeout: 60_000 },
        (error, stdout) => resume(Effect.succeed(error === null && expected.test(stdout)))
      )
    )
    if (Result.isFailure(started)) resume(Effect.succeed(false))
  })
