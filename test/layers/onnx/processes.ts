import { Result } from "effect"
import * as NodeFs from "node:fs"

/** The processes of this machine whose parent is `parent`, with their state: Z for one that ended and was not waited for. */
const childrenOf = (parent: number): ReadonlyArray<{ readonly pid: number; readonly state: string }> =>
  NodeFs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    const stat = Result.try(() => NodeFs.readFileSync(`/proc/${name}/stat`, "latin1"))
    if (Result.isFailure(stat)) return []
    // The command, in parentheses, may hold anything.
    const [state = "", ppid] = stat.success.slice(stat.success.lastIndexOf(")") + 2).split(" ")
    return Number(ppid) === parent ? [{ pid: Number(name), state }] : []
  })

/** Processes with V8 flags of a runner; other children of a test are not ours to count. */
export const runnersOf = (parent: number): ReadonlyArray<number> =>
  childrenOf(parent).filter(({ pid, state }) => state === "Z" || isRunner(pid)).map(({ pid }) => pid)

const isRunner = (pid: number): boolean => {
  const title = Result.try(() => NodeFs.readFileSync(`/proc/${pid}/cmdline`, "latin1"))
  return Result.isSuccess(title) && /maas-runner|onnx\/runner\/main/.test(title.success)
}

export const isAlive = (pid: number): boolean => NodeFs.existsSync(`/proc/${pid}`)
