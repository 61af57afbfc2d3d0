/** The processes of this machine, from `/proc`. */
import { Effect, Result, Schedule } from "effect"
import { readdirSync, readFileSync } from "node:fs"

export interface Process {
  readonly pid: number
  readonly parent: number
  /** Z for one that has ended and was not waited for. */
  readonly state: string
  /** In clock ticks since the machine started: with the pid it tells a process from all others. */
  readonly startedAt: string
  readonly command: string
}

const read = (pid: number): Process | undefined => {
  const files = Result.try(() => [
    readFileSync(`/proc/${pid}/stat`, "latin1"),
    readFileSync(`/proc/${pid}/cmdline`, "latin1")
  ])
  if (Result.isFailure(files)) return undefined
  const [stat = "", command = ""] = files.success
  // The command, in parentheses, may hold anything; the fields after it are counted from 3 in proc(5)
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return {
    pid,
    parent: Number(fields[1]),
    state: fields[0] ?? "",
    startedAt: fields[19] ?? "",
    command: command.replaceAll("\0", " ")
  }
}

const all = (): ReadonlyArray<Process> =>
  readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name)).flatMap((name) => read(Number(name)) ?? [])

/** What `pid` started, and what that started in turn. */
export const descendantsOf = (pid: number | undefined): ReadonlyArray<Process> => {
  const processes = all()
  const below = (parent: number | undefined): ReadonlyArray<Process> =>
    processes.filter((one) => one.parent === parent).flatMap((one) => [one, ...below(one.pid)])
  return below(pid)
}

/** The processes that models run in, also one that has begun and not yet named itself. */
export const runnersOf = (pid: number | undefined): ReadonlyArray<Process> =>
  descendantsOf(pid).filter(({ command }) => /^maas-runner|onnx\/runner\/main/.test(command))

/** Those of them that still run. */
export const alive = (processes: ReadonlyArray<Process>): ReadonlyArray<Process> =>
  processes.filter(({ pid, startedAt }) => {
    const now = read(pid)
    return now !== undefined && now.state !== "Z" && now.startedAt === startedAt
  })

/** Whether it was stopped by a signal, and so can start no other. */
export const isStopped = (pid: number): boolean => read(pid)?.state === "T"

/** Waits until the condition holds, for at most a minute. */
export const eventually = (condition: () => boolean) =>
  Effect.sync(condition).pipe(
    Effect.repeat({ until: (holds) => holds, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("60 seconds")
  )
