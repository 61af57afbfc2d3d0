/** Starts `victim.ts`, and tells how it ended. */
import { Deferred, Effect, Schedule } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Errand } from "./Platform.ts"

const root = new URL("../../../", import.meta.url)
const program = fileURLToPath(new URL("victim.ts", import.meta.url))
const node = fileURLToPath(new URL("node_modules/node/bin/node", root))

export interface Ended {
  readonly signal: NodeJS.Signals | null
  readonly code: number | null
  /** The names of the points that it came by. */
  readonly points: ReadonlyArray<string>
  readonly output: string
}

type How = "SIGKILL" | "SIGSTOP"

/** Starts one; `at` is the point at which it sends itself the signal, counted from 1, or 0 for none. */
export const start = Effect.fnUntraced(function*(errand: Errand, at: number, how: How) {
  const ended = yield* Deferred.make<Ended>()
  let output = ""
  const points = () => [...output.matchAll(/^point [0-9]+ (.*)$/gm)].map(([, name]) => name ?? "")
  const open = Effect.sync(() => {
    const child = spawn(node, [program, JSON.stringify(errand)], {
      env: {
        PATH: process.env["PATH"],
        FAULT_AT: String(at),
        FAULT_HOW: how,
        // Compiled once for all of them.
        NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/node", root))
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    child.stdout.on("data", (chunk: Buffer) => output += chunk.toString())
    child.stderr.on("data", (chunk: Buffer) => output += chunk.toString())
    child.on(
      "close",
      (code, signal) => Deferred.doneUnsafe(ended, Effect.succeed({ code, signal, points: points(), output }))
    )
    return child
  })
  const child = yield* Effect.acquireRelease(open, (child) =>
    Effect.suspend(() => {
      child.kill("SIGKILL")
      return Deferred.await(ended)
    }))
  return {
    ended: Deferred.await(ended),
    /** Waits until it has come by so many points. */
    reached: (count: number) =>
      Effect.sync(points).pipe(
        Effect.repeat({ until: (names) => names.length >= count, schedule: Schedule.spaced("50 millis") }),
        Effect.timeout("60 seconds")
      ),
    signal: (name: NodeJS.Signals) => Effect.sync(() => child.kill(name))
  }
})

/** Runs one to its end, which it brings about itself at the point `at`. */
export const run = (errand: Errand, at: number) =>
  Effect.scoped(Effect.flatMap(start(errand, at, "SIGKILL"), ({ ended }) => ended))
