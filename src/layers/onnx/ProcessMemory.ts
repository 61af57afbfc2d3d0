import { Effect, Result } from "effect"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs"
import type { RunnerProgram } from "./RunnerProgram.ts"

/**
 * The memory that is a process's own, without the files it maps: RssAnon of proc_pid_status(5). `undefined` when it is
 * gone or the system is not Linux. Reads no disk, so it may block.
 */
export const anonymousBytes = (pid: number): number | undefined => {
  const status = Result.try(() => NodeFs.readFileSync(`/proc/${pid}/status`, "latin1"))
  if (Result.isFailure(status)) return undefined
  const kibibytes = /^RssAnon:\s+(\d+) kB$/m.exec(status.success)?.[1]
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
}

/**
 * Has the kernel refuse a process what goes beyond its own needs and `memoryBytes`: an allocation then fails at once,
 * however fast it is. No core dump and no file beyond that size either; and should the machine run out of memory, the
 * kernel takes a runner first. Where the system lacks the means, watching the memory is what remains.
 */
export const limit = (
  { limitCommand }: Pick<RunnerProgram, "limitCommand">,
  pid: number,
  ownBytes: number | undefined,
  memoryBytes: number
): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    // May be refused, as in a container without the right to; the limits hold all the same.
    Result.try(() => NodeFs.writeFileSync(`/proc/${pid}/oom_score_adj`, "1000"))
    if (limitCommand === undefined || ownBytes === undefined) return resume(Effect.void)
    NodeChildProcess.execFile(
      limitCommand,
      ["--pid", String(pid), `--data=${ownBytes + memoryBytes}`, `--fsize=${memoryBytes}`, "--core=0"],
      (error) =>
        resume(error === null ? Effect.void : Effect.logWarning("A runner's memory is only watched", error.message))
    )
  })
