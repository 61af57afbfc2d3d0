/** A way to a server that a test can cut. */
import { Effect } from "effect"
import { connect, createServer } from "node:net"
import type { Server, Socket } from "node:net"

/** Listens on a free port and passes everything on to `host:port`. */
export const openProxy = Effect.fnUntraced(function*(host: string, port: number) {
  const sockets = new Set<Socket>()
  let server: Server | undefined
  let isStalled = false
  const heldBack: Array<() => void> = []
  const passOn = (event: () => void) => isStalled ? void heldBack.push(event) : event()

  const listen = (at: number) =>
    Effect.callback<number>((resume) => {
      const started = createServer((client) => {
        const upstream = connect(port, host)
        for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
          sockets.add(from)
          from.on("error", () => passOn(() => to.destroy()))
          from.on("end", () => passOn(() => to.end()))
          from.on("close", () => {
            sockets.delete(from)
            passOn(() => to.destroy())
          })
          from.pipe(to, { end: false })
          if (isStalled) from.pause()
        }
      })
      server = started
      started.listen(at, "127.0.0.1", () => {
        const address = started.address()
        resume(
          address === null || typeof address === "string"
            ? Effect.die(new Error("no TCP address"))
            : Effect.succeed(address.port)
        )
      })
    })

  /** Resets every connection and refuses new ones. */
  const cut = Effect.callback<void>((resume) => {
    if (server === undefined || !server.listening) return resume(Effect.void)
    server.close(() => resume(Effect.void))
    for (const socket of sockets) socket.resetAndDestroy()
  })

  /** Keeps every connection, and passes nothing on any more, not even that one was closed; nor on new ones. */
  const stall = Effect.sync(() => {
    isStalled = true
    for (const socket of sockets) socket.pause()
  })
  const flow = Effect.sync(() => {
    isStalled = false
    for (const socket of sockets) socket.resume()
    for (const event of heldBack.splice(0)) event()
  })

  const own = yield* Effect.acquireRelease(listen(0), () => cut)
  return { port: own, cut, restore: Effect.asVoid(listen(own)), stall, flow }
})
