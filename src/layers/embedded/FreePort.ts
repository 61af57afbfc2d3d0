import { Context, Effect, Schema } from "effect"
import { createServer } from "node:net"

/** No port could be had at all: no descriptors left, or no loopback address. */
export class NoFreePort extends Schema.TaggedError<NoFreePort>()("NoFreePort", {
  problem: Schema.String
}) {}

/**
 * A port of 127.0.0.1 that nothing listens on at the moment: one that the kernel chose, and that was given back. Another
 * process may take it before the server does, which then needs another.
 */
const pick = Effect.callback<number, NoFreePort>((resume) => {
  const server = createServer()
  server.once("error", (error) => resume(new NoFreePort({ problem: error.message })))
  server.listen({ host: "127.0.0.1", port: 0 }, () => {
    const address = server.address()
    server.close(() =>
      resume(
        address !== null && typeof address === "object"
          ? Effect.succeed(address.port)
          : new NoFreePort({ problem: "the kernel gave no port" })
      )
    )
  })
  return Effect.sync(() => server.close())
})

/** Where the port for the server comes from. */
export const FreePort = Context.Reference<Effect.Effect<number, NoFreePort>>("maas/layers/embedded/FreePort", {
  defaultValue: () => pick
})
