import type { PgConnection } from "@effect/sql-pg"
import { Context, Deferred, Duration, Effect, Schema } from "effect"
import type { Scope } from "effect"

/**
 * The proof that a process is there: an advisory lock that is held as long as a connection of its is. When the process
 * ends, however it ends, the server sees the connection closed and frees the lock, so that others need not wait until
 * its leases are over. A process that is only paused keeps it.
 */
export interface Presence {
  /** The number of the lock: random, and new with every connection. */
  readonly lock: bigint
  /** Completed some time after the connection was lost. */
  readonly forgotten: Deferred.Deferred<void>
}

/**
 * A connection may be lost and its process be well. So others give it this long, from when they find the lock free, to
 * say that it is. All processes on a database must agree on it.
 */
export const Grace = Context.Reference<Duration.Duration>("maas/layers/postgres/messaging/Presence/Grace", {
  defaultValue: () => Duration.seconds(1)
})

const Row = Schema.Struct({ lock: Schema.BigInt })

const takeLock = (connection: PgConnection.PgConnection) =>
  connection.query(`
    WITH random AS MATERIALIZED (SELECT hashtextextended(gen_random_uuid()::text, 0) AS lock)
    SELECT lock FROM random WHERE pg_try_advisory_lock(lock)`).pipe(
    Effect.flatMap(({ rows: [row] }) => Effect.orDie(Schema.decodeUnknownEffect(Schema.toType(Row))(row)))
  )

/** Holds a lock until the scope, which is that of the connection, closes; `process` is the scope of all connections. */
export const hold = Effect.fnUntraced(function*(connection: PgConnection.PgConnection, process: Scope.Scope) {
  const { lock } = yield* takeLock(connection)
  // The process itself gives up sooner: what it holds is out of its hands when others take it
  const ownGrace = Duration.divideUnsafe(yield* Grace, 2)
  const forgotten = yield* Deferred.make<void>()
  yield* Effect.addFinalizer(() =>
    Effect.forkIn(Effect.andThen(Effect.sleep(ownGrace), Deferred.succeed(forgotten, undefined)), process)
  )
  const presence: Presence = { lock, forgotten }
  return presence
})
