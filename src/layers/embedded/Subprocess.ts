import { Deferred, Effect, Exit, Option, Schema } from "effect"
import * as NodeChildProcess from "node:child_process"
import type { ServerAccount } from "./ServerAccount.ts"

/** The operating system refused to start the command: `code` is its error code, such as `ENOENT` or `EPERM`. */
export class SpawnFailed extends Schema.TaggedError<SpawnFailed>()("SpawnFailed", {
  command: Schema.String,
  code: Schema.String
}) {
  override get message() {
    return `${this.command} could not be started (${this.code})`
  }
}

export interface SubprocessOptions {
  /** Who the command runs as; none is the program's own user. Another user than one's own is for root only. */
  readonly account: Option.Option<ServerAccount>
  /** Entered before the change of user, so that a folder below one that the account may not pass works as well. */
  readonly cwd: string
}

/** How a command came to its end. A shell reports a child killed by signal n as code 128 + n. */
export interface Ended {
  readonly code: number | null
  readonly signal: string | null
}

/** A started command, in a session and process group of its own. */
export interface Subprocess {
  readonly child: NodeChildProcess.ChildProcess
  readonly ended: Effect.Effect<Ended>
}

/**
 * Starts a command. `effect/process` is not used because it has no way to say under which user a command runs.
 *
 * The command is the leader of a new session: a Ctrl-C on the terminal is for the program, which then decides what
 * ends in which order. It gets none of the program's environment, which holds secrets and may hold `PG*` variables.
 */
export const spawn = Effect.fnUntraced(function*(
  command: string,
  args: ReadonlyArray<string>,
  options: SubprocessOptions & { readonly stdio: NodeChildProcess.StdioOptions }
): Effect.fn.Return<Subprocess, SpawnFailed> {
  const failed = (error: unknown) => new SpawnFailed({ command, code: errorCode(error) })
  const started = yield* Deferred.make<void, SpawnFailed>()
  const ended = yield* Deferred.make<Ended>()
  // Node throws some failures and emits the others on the next tick, so the listeners must be there by then.
  const child = yield* Effect.try({
    try: () => {
      const child = NodeChildProcess.spawn(command, args, {
        cwd: options.cwd,
        env: { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" },
        stdio: options.stdio,
        detached: true,
        ...Option.match(options.account, { onNone: () => ({}), onSome: ({ uid, gid }) => ({ uid, gid }) })
      })
      child.once("spawn", () => Deferred.doneUnsafe(started, Exit.void))
      child.once("error", (error) => Deferred.doneUnsafe(started, Exit.fail(failed(error))))
      child.once("close", (code, signal) => Deferred.doneUnsafe(ended, Exit.succeed({ code, signal })))
      return child
    },
    catch: failed
  })
  yield* Deferred.await(started)
  return { child, ended: Deferred.await(ended) }
}, Effect.uninterruptible)

/** Runs a command to its end and keeps the last part of what it says. Interrupted, it kills the command's group. */
export const run = (
  command: string,
  args: ReadonlyArray<string>,
  options: SubprocessOptions
): Effect.Effect<Ended & { readonly output: string }, SpawnFailed> =>
  Effect.acquireUseRelease(
    Effect.map(spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"] }), (subprocess) => {
      const kept = { output: "" }
      for (const stream of [subprocess.child.stdout, subprocess.child.stderr]) {
        stream?.setEncoding("utf8").on("data", (chunk) => {
          kept.output = `${kept.output}${chunk}`.slice(-outputLimit)
        })
      }
      return { subprocess, kept }
    }),
    ({ subprocess, kept }) => Effect.map(subprocess.ended, (ended) => ({ ...ended, output: kept.output.trim() })),
    ({ subprocess }) => killGroup(subprocess)
  )

/** Characters of output that `run` keeps. */
const outputLimit = 16_384

/** Kills what is left of a command that has not ended. Its pid is not free for others before Node has seen it end. */
const killGroup = ({ child }: Subprocess): Effect.Effect<void> =>
  Effect.sync(() => child.exitCode === null && child.signalCode === null ? child.pid : undefined).pipe(
    Effect.flatMap((pid) => pid === undefined ? Effect.void : Effect.ignore(Effect.try(() => process.kill(-pid, 9))))
  )

const decodeCode = Schema.decodeUnknownOption(Schema.Struct({ code: Schema.String }))

const errorCode = (error: unknown): string =>
  Option.match(decodeCode(error), { onNone: () => String(error), onSome: ({ code }) => code })
