/** Starts `participant.ts`. */
import { Deferred, Effect } from "effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Place } from "./Participants.ts"

const program = new URL("participant.ts", import.meta.url)
const node = fileURLToPath(new URL("../../../node_modules/node/bin/node", import.meta.url))

/** It is killed when the scope closes. */
export const start = Effect.fnUntraced(function*(role: "relay" | "consumer", place: Place, count?: number) {
  const [started, held, exited] = [
    yield* Deferred.make<void>(),
    yield* Deferred.make<void>(),
    yield* Deferred.make<number | null>()
  ]
  let output = ""
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(
        node,
        [fileURLToPath(program), role, JSON.stringify(place), ...count === undefined ? [] : [String(count)]],
        { stdio: ["ignore", "pipe", "pipe"] }
      )
      const hear = (chunk: Buffer) => {
        output += chunk.toString()
        if (/^started$/m.test(output)) Deferred.doneUnsafe(started, Effect.void)
        if (/^held$/m.test(output)) Deferred.doneUnsafe(held, Effect.void)
      }
      child.stdout.on("data", hear)
      child.stderr.on("data", hear)
      child.on("exit", (code) => Deferred.doneUnsafe(exited, Effect.succeed(code)))
      return child
    }),
    (child) =>
      Effect.suspend(() => {
        child.kill("SIGKILL")
        return Deferred.await(exited)
      })
  )
  const inTime = <A>(what: string, deferred: Deferred.Deferred<A>) =>
    Deferred.await(deferred).pipe(
      Effect.raceFirst(
        Effect.flatMap(Deferred.await(exited), (code) =>
          Effect.die(new Error(`${role} ended with ${code} before it was ${what}:\n${output}`)))
      ),
      Effect.timeoutOrElse({
        duration: "60 seconds",
        orElse: () =>
          Effect.die(new Error(`${role} was not ${what} in time:\n${output}`))
      })
    )
  yield* inTime("started", started)
  return {
    held: inTime("held", held),
    signal: (name: NodeJS.Signals) => Effect.sync(() => child.kill(name)),
    /** Returns when it has ended. */
    kill: Effect.suspend(() => {
      child.kill("SIGKILL")
      return Deferred.await(exited)
    }),
    output: () => output
  }
})
