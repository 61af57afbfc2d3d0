/** A way to one broker on which acknowledgements get lost: the answer is withheld and the connection reset. */
import { Effect } from "effect"
import { connect, createServer } from "node:net"
import type { Socket } from "node:net"

/** `ApiKeys.PRODUCE` of Kafka's protocol. */
const produce = 0

/** Cuts a stream into the frames of Kafka's protocol: four bytes of length, then so many bytes. */
const frames = (hear: (frame: Buffer) => void) => {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0)
      hear(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
  }
}

/**
 * Listens on a free port. The broker, which is to advertise that port as its own, is named afterwards by `lead`. Of all
 * acknowledgements every `nth` is lost, from the first `start` to the last `stop`.
 */
export const open = Effect.fnUntraced(function*(nth: number) {
  const sockets = new Set<Socket>()
  let broker = 0
  let isLossy = false
  let acknowledgements = 0
  let lost = 0

  const server = createServer((client) => {
    const upstream = connect(broker, "127.0.0.1")
    const produceRequests = new Set<number>()
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(from)
      from.on("error", () => to.destroy())
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
    }
    client.on(
      "data",
      frames((frame) => {
        // Length, api key, api version, correlation id
        if (frame.readInt16BE(4) === produce) produceRequests.add(frame.readInt32BE(8))
        upstream.write(frame)
      })
    )
    upstream.on(
      "data",
      frames((frame) => {
        if (produceRequests.delete(frame.readInt32BE(4)) && isLossy && ++acknowledgements % nth === 0) {
          lost++
          client.resetAndDestroy()
        } else {
          client.write(frame)
        }
      })
    )
  })

  const port = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(
          address === null || typeof address === "string"
            ? Effect.die(new Error("no TCP address"))
            : Effect.succeed(address.port)
        )
      })
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
  return {
    port,
    lead: (to: number) => {
      broker = to
    },
    start: Effect.sync(() => {
      isLossy = true
    }),
    stop: Effect.sync(() => {
      isLossy = false
    }),
    lost: () => lost
  }
})
