// A stream of Node runs outside of any fiber, so its timer is Node's own
// @effect-diagnostics globalTimers:off
import { Duration } from "effect"
import { connect } from "node:net"
import type { Socket, TcpNetConnectOpts } from "node:net"
import { Duplex } from "node:stream"

/**
 * A way to the server that ends when an answer is overdue.
 *
 * A server that hangs, or a network that swallows packets, closes no connection, and the driver waits: for the answer,
 * or, when it was interrupted, for the end of the statement that it asked the server to cancel. PostgreSQL answers
 * everything that the driver writes, so what was written and not answered in time is the sign of it. To end the
 * connection is right: its answer could still come, and must not be taken for another statement's.
 *
 * A connection on which nothing was asked may be silent for ever, as one that listens for notifications. An answer that
 * stops half-way is not noticed here: any part of it counts.
 */
class WatchedSocket extends Duplex {
  readonly #socket: Socket
  readonly #patience: Duration.Duration
  #timer: NodeJS.Timeout | undefined
  /** Whether something was written since the server was last heard. */
  #isOwed = false
  /** Counts the questions, to tell one from the next. */
  #asked = 0

  constructor(socket: Socket, patience: Duration.Duration) {
    super()
    this.#socket = socket
    this.#patience = patience
    socket.on("data", (chunk) => {
      this.#isOwed = false
      if (!this.push(chunk)) socket.pause()
    })
    socket.on("end", () => this.push(null))
    socket.on("error", (error) => this.destroy(error))
    socket.on("close", () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, written: (error?: Error | null) => void): void {
    if (!this.#isOwed) {
      this.#isOwed = true
      this.#asked++
    }
    this.#wait()
    this.#socket.write(chunk, (error) => {
      // A long statement on a slow network: as long as it goes forward, nobody is late
      if (this.#isOwed && !this.destroyed) this.#wait()
      written(error)
    })
  }

  override _final(ended: () => void): void {
    this.#socket.end(ended)
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    clearTimeout(this.#timer)
    this.#socket.destroy()
    destroyed(error)
  }

  #wait(): void {
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#overdue(this.#asked), Duration.toMillis(this.#patience))
    } else {
      this.#timer.refresh()
    }
  }

  /** After this program itself was held up, the answer may have come and just not been read: that happens first. */
  #overdue(asked: number): void {
    setImmediate(() => {
      if (!this.#isOwed || this.#asked !== asked) return
      this.destroy(new Error(`The server has not answered for ${Duration.format(this.#patience)}`))
    })
  }
}

/** Where the server is, by the rules of the driver, which is told about this way and so doesn't look itself. */
const addressOf = (url: string): Pick<TcpNetConnectOpts, "host" | "port"> | { readonly path: string } => {
  const { hostname, port: named, searchParams } = new URL(url)
  const host = searchParams.getAll("host").at(-1) ?? decodeURIComponent(hostname).replace(/^\[(.*)\]$/, "$1")
  const port = Number(searchParams.getAll("port").at(-1) ?? (named === "" ? 5432 : named))
  return host.startsWith("/") ? { path: `${host}/.s.PGSQL.${port}` } : { host: host === "" ? "localhost" : host, port }
}

/** Opens connections to the server of a `postgres://` URL, each of which waits at most `patience` for an answer. */
export const connector = (url: string, patience: Duration.Input) => (): Duplex => {
  const address = addressOf(url)
  const socket = connect({
    ...address,
    // A statement is one write and then a wait for its answer
    ...("path" in address ? {} : { noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 })
  })
  return new WatchedSocket(socket, Duration.fromInputUnsafe(patience))
}
