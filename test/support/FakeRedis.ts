/** A server that speaks Redis' protocol only as far as a test wants it to: late, nonsense, or not at all. */
import { Effect, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { createServer } from "node:net"
import type { Socket } from "node:net"

export interface FakeRedisOptions {
  /** What a command is answered with, in the protocol's own bytes; undefined for no answer. */
  readonly answer: (command: ReadonlyArray<string>, socket: Socket) => string | undefined
  /** Whether the handshake is answered as Redis would; true when not given. */
  readonly shakesHands?: boolean
}

const handshake = new Set(["HELLO", "CLIENT", "SELECT"])

/** The whole commands of the text, `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`, and what is left of it. */
const read = (text: string): readonly [commands: ReadonlyArray<ReadonlyArray<string>>, rest: string] => {
  const commands: Array<ReadonlyArray<string>> = []
  let rest = text
  for (;;) {
    const count = Number(/^\*(\d+)\r\n/.exec(rest)?.[1] ?? "0")
    const parts = rest.split("\r\n")
    // The count, a length and a text each, and what comes after the last line end
    if (count === 0 || parts.length < 2 * count + 2) return [commands, rest]
    commands.push(parts.slice(1, 2 * count + 1).filter((_, index) => index % 2 === 1))
    rest = parts.slice(2 * count + 1).join("\r\n")
  }
}

/** Listens on a free port until the scope closes. */
export const start = Effect.fnUntraced(function*({ answer, shakesHands = true }: FakeRedisOptions) {
  const sockets = new Set<Socket>()
  let received = 0
  const server = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createServer((socket) => {
        sockets.add(socket)
        let text = ""
        socket.on("error", () => socket.destroy())
        socket.on("close", () => sockets.delete(socket))
        socket.on("data", (piece) => {
          const [commands, rest] = read(text + piece.toString())
          text = rest
          for (const command of commands) {
            const isHandshake = handshake.has(command[0] ?? "")
            if (!isHandshake) received++
            const said = isHandshake && shakesHands ? "+OK\r\n" : answer(command, socket)
            if (said !== undefined) socket.write(said)
          }
        })
      })
    ),
    (server) =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
  const port = yield* Effect.callback<number>((resume) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resume(
        address === null || typeof address === "string"
          ? Effect.die(new Error("no TCP address"))
          : Effect.succeed(address.port)
      )
    })
  })
  /** Waits, on the live clock, until so many commands have come besides those of handshakes. */
  const untilReceived = (commands: number) =>
    Effect.sync(() => received).pipe(
      Effect.repeat({ until: (count) => count >= commands, schedule: Schedule.spaced("5 millis") }),
      Effect.timeout("20 seconds"),
      Effect.orDie,
      TestClock.withLive
    )
  return { port, connections: () => sockets.size, untilReceived }
})
