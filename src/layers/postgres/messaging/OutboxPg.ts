/**
 * The outbox as a table.
 *
 * Order: `append` takes a transaction lock per key before it draws sequence numbers, so along a key they follow the
 * order of commits. Between keys they need not: the relay therefore keeps no position. It takes what is there and
 * deletes it, and a row that commits late is simply there later.
 *
 * Exclusion: keys fall into a few shards, and a relay reads and deletes under transaction locks of its shards. A relay
 * that dies loses its connection, hence its locks; one that is stopped loses them when the server ends its idle
 * transaction.
 */
import { Array, Duration, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { RecordTooLarge } from "../../../messaging/EventLog.ts"
import { Outbox, OutboxUnavailable, payloadBytes } from "../../../messaging/Outbox.ts"
import type { OutboxMessage } from "../../../messaging/Outbox.ts"
import { OutboxStore } from "../../../messaging/OutboxStore.ts"
import * as RecordHeaders from "../../../messaging/RecordHeaders.ts"
import { channel, Notifications } from "./Notifications.ts"
import { unavailable } from "./SqlFailure.ts"

/** More shards let more relays work at once; each costs one index probe a batch. */
const shards = 16
/** The first half of the advisory locks of shards; the second is the shard. */
const shardLocks = 0x6f7562
/** Keeps the locks of keys apart from other locks. */
const keyLocks = 0x6f75626b
const subject = "outbox"

export interface OutboxPgOptions {
  /** A message with a larger payload, key and headers is refused. Must not exceed the event log's limit. Bytes, default 1,000,000. */
  readonly maxMessageBytes?: number | undefined
  /** How long a relay may fall silent within a batch before its work is given to others. Default 60 seconds. */
  readonly relayTimeout?: Duration.Input | undefined
}

interface Row {
  readonly seq: bigint
  readonly id: string
  readonly topic: string
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

const failure = (operation: string) => unavailable((cause) => new OutboxUnavailable({ operation, cause }))

const makeAppend = (sql: SqlClient.SqlClient, maxMessageBytes: number): Outbox["Service"]["append"] => {
  const insert = Effect.fnUntraced(function*(messages: ReadonlyArray<OutboxMessage>) {
    const trace = yield* RecordHeaders.currentTraceparent
    const keys = messages.map(({ key }) => key)
    // In one order for everybody, so that two batches never wait for each other.
    yield* sql`
      SELECT pg_advisory_xact_lock(lock)
      FROM (SELECT DISTINCT hashtextextended(key, ${keyLocks}) AS lock FROM unnest(${keys}::text[]) AS key ORDER BY lock)`
    // A statement of its own: the numbers are drawn after the locks are held.
    yield* sql`
      WITH appended AS (
        INSERT INTO outbox (shard, id, topic, key, headers, payload)
        SELECT (hashtextextended(m.key, ${keyLocks}) & ${
      shards - 1
    })::smallint, m.id, m.topic, m.key, m.headers, m.payload
        FROM unnest(
          ${messages.map(({ id }) => id)}::uuid[],
          ${messages.map(({ topic }) => topic)}::text[],
          ${keys}::text[],
          ${messages.map(({ headers }) => JSON.stringify({ ...trace, ...headers }))}::jsonb[],
          ${messages.map(payloadBytes)}::bytea[]
        ) WITH ORDINALITY AS m (id, topic, key, headers, payload, position)
        ORDER BY m.position
      )
      SELECT pg_notify(${channel}, ${subject})`
  })

  return Effect.fnUntraced(function*(messages) {
    if (messages.length === 0) return
    for (const message of messages) {
      const size = payloadBytes(message).byteLength + JSON.stringify(message.headers).length + message.key.length
      if (size > maxMessageBytes) {
        return yield* new RecordTooLarge({ topic: message.topic, key: message.key, size, limit: maxMessageBytes })
      }
    }
    const transaction = yield* Effect.serviceOption(sql.transactionService)
    yield* failure("append")(Option.isSome(transaction) ? insert(messages) : sql.withTransaction(insert(messages)))
  })
}

const makeStore = (
  sql: SqlClient.SqlClient,
  notifications: Notifications["Service"],
  relayTimeout: Duration.Duration
): OutboxStore["Service"] => {
  const timeoutMillis = String(Duration.toMillis(relayTimeout))

  const claimShards = sql<{ readonly shard: number }>`
    WITH pending AS MATERIALIZED (
      SELECT shard FROM generate_series(0, ${shards - 1}) AS shard
      WHERE EXISTS (SELECT FROM outbox WHERE outbox.shard = shard.shard)
    )
    SELECT shard FROM pending WHERE pg_try_advisory_xact_lock(${shardLocks}, shard)`

  const relay: OutboxStore["Service"]["relay"] = ({ maxBytes, maxMessages, withheld }, publish) => {
    const next = (claimed: ReadonlyArray<number>) =>
      sql<Row>`
        SELECT seq, id, topic, key, headers, payload
        FROM (
          SELECT *, sum(octet_length(payload)) OVER (ORDER BY shard, seq) - octet_length(payload) AS bytes_before
          FROM unnest(${claimed}::smallint[]) AS claimed (shard)
          CROSS JOIN LATERAL (
            SELECT seq, id, topic, key, headers, payload FROM outbox
            WHERE outbox.shard = claimed.shard
              AND topic <> ALL (${withheld.topics}::text[])
              AND (topic, key) NOT IN (
                SELECT * FROM unnest(${withheld.keys.map(({ topic }) => topic)}::text[], ${
        withheld.keys.map(({ key }) => key)
      }::text[])
              )
            ORDER BY seq LIMIT ${Math.ceil(maxMessages / claimed.length)}
          ) AS messages
        ) AS batch
        WHERE bytes_before < ${maxBytes}
        ORDER BY shard, seq`

    return sql.withTransaction(Effect.gen(function*() {
      yield* sql`SELECT set_config('idle_in_transaction_session_timeout', ${timeoutMillis}, true)`
      const claimed = yield* claimShards
      if (claimed.length === 0) return 0
      // A statement of its own: it sees what the previous owner of the shards left.
      const rows = yield* next(claimed.map(({ shard }) => shard))
      if (!Array.isReadonlyArrayNonEmpty(rows)) return 0
      yield* publish(rows)
      yield* sql`DELETE FROM outbox WHERE seq = ANY (${rows.map(({ seq }) => seq)}::bigint[])`
      return rows.length
    })).pipe(failure("relay"))
  }

  const backlog = sql<{ readonly count: bigint; readonly age: number }>`
    SELECT count(*) AS count,
      coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS age
    FROM outbox`.pipe(
    Effect.map(([row]) => ({ count: Number(row?.count ?? 0), oldestAge: Duration.seconds(row?.age ?? 0) })),
    failure("backlog")
  )

  return { relay, backlog, changes: notifications.latch(subject) }
}

export const layer = (options: OutboxPgOptions = {}) =>
  Layer.mergeAll(
    Layer.effect(
      Outbox,
      Effect.map(SqlClient.SqlClient, (sql) =>
        Outbox.of({ append: makeAppend(sql.withoutTransforms(), options.maxMessageBytes ?? 1_000_000) }))
    ),
    Layer.effect(
      OutboxStore,
      Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        const relayTimeout = Duration.fromInputUnsafe(options.relayTimeout ?? "60 seconds")
        return OutboxStore.of(makeStore(sql.withoutTransforms(), yield* Notifications, relayTimeout))
      })
    )
  )
