/** Starts `victim.ts`, and tells how it ended. */
import { Effect } from "effect"
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

/** Runs one to its end; `at` is the point at which it ends itself, counted from 1, or 0 for none. */
export const run = (errand: Errand, at: number) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(node, [program, JSON.stringify(errand)], {
      env: {
        PATH: process.env["PATH"],
        FAULT_AT: String(at),
        // Compiled once for all of them.
        NODE_COMPILE_CACHE: fileURLToPath(new URL("node_modules/.cache/node", root))
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => output += chunk.toString())
    child.stderr.on("data", (chunk: Buffer) => output += chunk.toString())
    child.on("close", (code, signal) => {
      const points = [...output.matchAll(/^point [0-9]+ (.*)$/gm)].map(([, name]) => name ?? "")
      resume(Effect.succeed({ code, signal, points, output }))
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
