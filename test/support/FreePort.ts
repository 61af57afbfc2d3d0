import { Effect, Random, Result } from "effect"
import { createSocket } from "node:dgram"
import type { Socket } from "node:dgram"
import { createServer } from "node:net"

/** Below all that a system gives to who asks for no port in particular: Linux begins at 32768, others at 49152. */
const [lowest, count] = [20_000, 12_000]

/** Reserves the port among all that ask here, in any process: nothing else speaks UDP there. */
const reserve = (port: number) =>
  Effect.callback<Socket, "taken">((resume) => {
    const socket = createSocket("udp4")
    socket.once("error", () => {
      socket.close()
      resume(Effect.fail("taken"))
    })
    socket.bind({ port, address: "127.0.0.1", exclusive: true }, () => {
      socket.unref()
      resume(Effect.succeed(socket))
    })
  })

/** Whether a server can listen there, which it then does no more. */
const canListen = (port: number) =>
  Effect.callback<boolean>((resume) => {
    const server = createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen({ host: "127.0.0.1", port }, () => server.close(() => resume(Effect.succeed(true))))
  })

/**
 * A port of 127.0.0.1 for a server that a test starts, perhaps later, perhaps several times. It is told to nobody else
 * until this process ends: one that the system picked and that was given back could by then be that of another server,
 * or of a connection.
 */
export const freePort = Effect.gen(function*() {
  const from = yield* Random.nextIntBetween(0, count)
  for (let step = 0; step < count; step++) {
    const port = lowest + (from + step) % count
    const reserved = yield* Effect.result(reserve(port))
    if (Result.isFailure(reserved)) continue
    if (yield* canListen(port)) return port
    reserved.success.close()
  }
  return yield* Effect.die(new Error(`no port from ${lowest} to ${lowest + count - 1} is free`))
})
