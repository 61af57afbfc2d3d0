/** One connection to one broker, open for as long as its scope. */
import { Duration, Effect, Redacted } from "effect"
import type { Context, Scope } from "effect"
import Connection from "kafkajs/src/network/connection.js"
import type { Logger } from "kafkajs/src/network/connection.js"
import apiKeys from "kafkajs/src/protocol/requests/apiKeys.js"
import { lookup, requests } from "kafkajs/src/protocol/requests/index.js"
import type { Api, Apis, Exchange, Versions } from "kafkajs/src/protocol/requests/index.js"
import { connect as connectTcp, isIP } from "node:net"
import type { Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import type { ConnectionOptions } from "node:tls"
import { connectionLost, fromError, KafkaFailure } from "./KafkaFailure.ts"

/** A broker as it is reached: `host:port`. */
export type Address = string

export interface SaslOptions {
  readonly mechanism: "plain" | "scram-sha-256" | "scram-sha-512"
  readonly username: string
  readonly password: Redacted.Redacted
}

export interface ConnectionSettings {
  readonly clientId: string
  /** TLS with these options; without them in the clear. */
  readonly tls?: ConnectionOptions | undefined
  readonly sasl?: SaslOptions | undefined
  /** How long a broker may take to accept a connection. */
  readonly connectTimeout: Duration.Duration
  /** How long a broker may take to answer, beyond what a request tells it to wait. */
  readonly requestTimeout: Duration.Duration
}

export interface KafkaConnection {
  /**
   * Sends one request; `wait` is how long the request itself asks the broker to wait. A response that comes too late
   * for that is a lost connection.
   */
  readonly request: <K extends Api>(
    api: K,
    options: Apis[K]["request"],
    wait?: Duration.Duration
  ) => Effect.Effect<Apis[K]["response"], KafkaFailure>
}

/** Requests are small and somebody waits for each: none is held back to be sent with the next. */
const openSocket = (tls: ConnectionOptions | undefined) =>
(
  { host, onConnect, port }: { readonly host: string; readonly port: number; readonly onConnect: () => void }
): Socket => {
  const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 }
  return tls === undefined
    ? connectTcp(options, onConnect)
    // RFC 6066 has no addresses as server names.
    : connectTls({ ...isIP(host) === 0 ? { servername: host } : {}, ...options, ...tls }, onConnect)
}

/** kafkajs's log as part of this program's; what it calls an error is somebody's failure here, who says so again. */
const loggerOf = (context: Context.Context<never>): Logger => {
  const runFork = Effect.runForkWith(context)
  const logger: Logger = {
    namespace: () => logger,
    error: (message, extra) => void runFork(Effect.logDebug(`kafkajs: ${message}`, extra)),
    warn: (message, extra) => void runFork(Effect.logDebug(`kafkajs: ${message}`, extra)),
    info: (message, extra) => void runFork(Effect.logDebug(`kafkajs: ${message}`, extra)),
    debug: () => {}
  }
  return logger
}

/** What the brokers must know to be asked which versions of each request they know. */
const apiVersions = requests.ApiVersions.protocol({ version: 2 })

const undecided = <A>(exchange: Exchange<A>): Exchange<A> => ({
  ...exchange,
  response: { ...exchange.response, parse: (decoded) => Promise.resolve(decoded) }
})

const close = (connection: Connection) =>
  Effect.promise(() => {
    // Else it would wait for the answers of requests that nobody waits for any more.
    connection.rejectRequests(new Error("The connection is closed"))
    connection.socket?.destroy()
    return connection.disconnect()
  })

/** Connects, agrees on versions and authenticates. Fails when any of that fails. */
export const open = Effect.fnUntraced(function*(
  settings: ConnectionSettings,
  address: Address
): Effect.fn.Return<KafkaConnection, KafkaFailure, Scope.Scope> {
  const { clientId, connectTimeout, requestTimeout, sasl, tls } = settings
  const colon = address.lastIndexOf(":")
  const connection = new Connection({
    host: address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"),
    port: Number(address.slice(colon + 1)),
    clientId,
    logger: loggerOf(yield* Effect.context<never>()),
    socketFactory: openSocket(tls),
    ssl: tls,
    sasl: sasl && { ...sasl, password: Redacted.value(sasl.password) },
    connectionTimeout: Duration.toMillis(connectTimeout),
    requestTimeout: Duration.toMillis(requestTimeout),
    // It would look ten times a second; here each request has a deadline of its own.
    enforceRequestTimeout: false
  })
  // It looks for requests that wait, every millisecond and for ever, when there are none as well.
  const queue = connection.requestQueue
  const lookForWaiting = queue.scheduleCheckPendingRequests.bind(queue)
  queue.scheduleCheckPendingRequests = () => {
    if (queue.pending.length > 0) lookForWaiting()
  }

  const within = <A>(duration: Duration.Duration, what: string, promise: () => Promise<A>) =>
    Effect.tryPromise({ try: promise, catch: fromError }).pipe(
      Effect.timeoutOrElse({
        duration,
        orElse: () => new KafkaFailure({ code: connectionLost, cause: `${address} did not answer ${what} in time` })
      })
    )

  yield* Effect.addFinalizer(() => close(connection))
  yield* within(Duration.times(connectTimeout, 2), "the connection", () => connection.connect())
  const known = yield* within(connectTimeout, "ApiVersions", () => connection.send(undecided(apiVersions())))
  const versions: Versions = Object.fromEntries(known.apiVersions.map((range) => [range.apiKey, range]))
  connection.setVersions(versions)
  connection.setSupportAuthenticationProtocol(true)
  yield* within(requestTimeout, "the authentication", () => connection.authenticate())
  const find = lookup(versions)

  return {
    request: (api, options, wait = Duration.zero) =>
      within(
        Duration.sum(requestTimeout, wait),
        api,
        () => connection.send(undecided(find(apiKeys[api], requests[api])(options)))
      )
  }
})
