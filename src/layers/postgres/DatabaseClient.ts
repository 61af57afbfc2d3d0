import * as PgClient from "@effect/sql-pg/PgClient"
import { Duration, Effect, Redacted, Schema, String } from "effect"
import { SqlClient, SqlError, Statement } from "effect/sql"
import type { SqlConnection } from "effect/sql"
import { show } from "../../resilience/PulledMetrics.ts"
import * as WatchedSocket from "./WatchedSocket.ts"

export interface DatabaseClientOptions {
  readonly url: Redacted.Redacted
  /** Names the pool in the metrics; one without a name is in none. */
  readonly pool?: string | undefined
  /** The most connections at once. */
  readonly maxConnections: number
  /** The longest message that the server may send, hence the largest row, in bytes. Default 16 MiB. */
  readonly maxMessageBytes?: number | undefined
  /** How long the server may leave a question unanswered: its connection is given up then. */
  readonly answerWithin: Duration.Input
  /** How long a statement or a transaction may wait for a connection. */
  readonly connectionWithin: Duration.Input
  /** How long the making of a connection may take. Default 5 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
}

const isRolledBack = Schema.is(Schema.Struct({ command: Schema.Literal("ROLLBACK") }))

/** `COMMIT` of a transaction in which a statement had failed is answered with `ROLLBACK`, which is no error to the server. */
const commit = (connection: SqlConnection.Connection): Effect.Effect<void, SqlError.SqlError> =>
  Effect.flatMap(connection.executeRaw("COMMIT", []), (result) =>
    isRolledBack(result)
      ? new SqlError.SqlError({
        reason: new SqlError.UnknownError({
          cause: new Error("a statement of the transaction had failed"),
          message: "COMMIT rolled the transaction back",
          operation: "commit"
        })
      })
      : Effect.void)

/** Of OpenTelemetry's semantic conventions for databases. */
const spanAttributesOf = (url: Redacted.Redacted): ReadonlyArray<readonly [string, unknown]> => {
  const { hostname, pathname, port } = new URL(Redacted.value(url))
  return [
    ["db.system.name", "postgresql"],
    ["db.namespace", decodeURIComponent(pathname.slice(1))],
    ["server.address", hostname],
    ["server.port", port === "" ? 5_432 : Number(port)]
  ]
}

/**
 * The driver's client, on whose statements and transactions nobody waits without end: neither for a server that doesn't
 * answer nor for a connection of a pool that is used up. Both are `ConnectionError`s, since neither is the statement's
 * fault, and what it did is unknown.
 *
 * The driver lets nobody bound the wait for its pool; so this is a client of its own on the driver's connections.
 */
const make = Effect.fnUntraced(
  function*({
    answerWithin,
    connectTimeout = "5 seconds",
    connectionWithin,
    maxConnections,
    maxMessageBytes,
    pool,
    url
  }: DatabaseClientOptions) {
    const driver = yield* PgClient.make({
      url,
      stream: WatchedSocket.connector(Redacted.value(url), answerWithin),
      applicationName: "maas",
      maxConnections,
      maxMessageSize: maxMessageBytes,
      connectTimeout,
      transformJson: false
    })
    const waited = `No connection was free for ${Duration.format(Duration.fromInputUnsafe(connectionWithin))}`
    const uses = { waiting: 0, taken: 0, refused: 0 }
    const connection = Effect.suspend(() => {
      uses.waiting++
      return driver.reserve
    }).pipe(
      Effect.timeoutOrElse({
        duration: connectionWithin,
        orElse: () => {
          uses.refused++
          return new SqlError.SqlError({
            reason: new SqlError.ConnectionError({ cause: new Error(waited), message: waited, operation: "acquire" })
          })
        }
      }),
      Effect.onExit(() =>
        Effect.sync(() => {
          uses.waiting--
        })
      ),
      Effect.tap(() =>
        Effect.acquireRelease(
          Effect.sync(() => uses.taken++),
          () => Effect.sync(() => uses.taken--)
        )
      )
    )
    if (pool !== undefined) {
      const attributes = { pool }
      yield* show([
        { type: "Gauge", id: "database_pool_connections", attributes, read: () => uses.taken },
        { type: "Gauge", id: "database_pool_connections_max", attributes, read: () => maxConnections },
        { type: "Gauge", id: "database_pool_waiting", attributes, read: () => uses.waiting },
        { type: "Counter", id: "database_pool_refused_total", attributes, read: () => uses.refused }
      ])
    }
    const client = yield* SqlClient.make({
      acquirer: connection,
      transactionAcquirer: connection,
      compiler: PgClient.makeCompiler(String.camelToSnake, false),
      transformRows: Statement.defaultTransforms(String.snakeToCamel, false).array,
      prepareTransactionControls: true,
      commit,
      releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
      driver: driver.driver,
      spanAttributes: spanAttributesOf(url)
    })
    const { config, json, listen, notify } = driver
    return Object.assign(client, { [PgClient.TypeId]: PgClient.TypeId, config, json, listen, notify })
  }
)

export const layer = (options: DatabaseClientOptions) => PgClient.layerFrom(make(options))
