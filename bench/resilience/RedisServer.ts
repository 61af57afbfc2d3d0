/** A `redis-server` for a measurement, on a free port of 127.0.0.1, without persistence. */
import { Data, Effect, Schedule } from "effect"
import { spawn } from "node:child_process"
import { connect } from "node:net"
import { freePort } from "../../test/support/FreePort.ts"

class NoRedisServer extends Data.TaggedError("NoRedisServer")<{ readonly problem: string }> {
  override get message() {
    return `redis-server did not start: ${this.problem}`
  }
}

const isListening = (port: number) =>
  Effect.callback<void, NoRedisServer>((resume) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resume(Effect.void)
    })
    socket.once("error", ({ message }) => resume(new NoRedisServer({ problem: message })))
  })

/** The server's port; the server ends with the scope. */
export const start = Effect.gen(function*() {
  const port = yield* freePort
  yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof spawn>, NoRedisServer>((resume) => {
      const child = spawn("redis-server", [
        "--port",
        `${port}`,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no"
      ], {
        stdio: "ignore"
      })
      child.once("spawn", () => resume(Effect.succeed(child)))
      child.once("error", ({ message }) => resume(new NoRedisServer({ problem: message })))
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  yield* isListening(port).pipe(Effect.retry({ schedule: Schedule.spaced("20 millis"), times: 250 }))
  return port
})
