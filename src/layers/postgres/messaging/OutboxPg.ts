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
import { Array, DateTime, Duration, Effect, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import type { NewRecord } from "../../../messaging/EventLog.ts"
import { Outbox, OutboxUnavailable, toRecord } from "../../../messaging/Outbox.ts"
import { OutboxStore } from "../../../messaging/OutboxStore.ts"
import * as RecordHeaders from "../../../messaging/RecordHeaders.ts"
import { checkSizes } from "../../../messaging/RecordSize.ts"
import { channel, Notifications } from "./Notifications.ts"
import { anyFailure, passingFailure } from "./SqlFailure.ts"

/** More shards let more relays work at once; each costs one index probe a batch. */
const shards = 16
const lastShard = shards - 1
/** The first half of the advisory locks of shards; the second is the shard. */
const shardLocks = 0x6f7562
/** Keeps the locks of keys apart from other locks. */
const keyLocks = 0x6f75626b
const subject = "outbox"

export interface OutboxPgOptions {
  /** A message with a larger payload, key and headers is refused. Must not exceed the event log's limit. Bytes, default 1,000,000. */
  readonly maxMessageBytes?: number | undefined
  /**
   * How long a relay may fall silent within a batch before its work is given to others: longer than the event log may
   * take to publish one. Default 60 seconds.
   */
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

const unavailable = (operation: string) => (cause: unknown) => new OutboxUnavailable({ operation, cause })

const makeAppend = (sql: SqlClient.SqlClient, maxMessageBytes: number): Outbox["Service"]["append"] => {
  const insert = Effect.fnUntraced(function*(records: ReadonlyArray<NewRecord>, ids: ReadonlyArray<string>) {
    const keys = records.map(({ key }) => key)
    // In one order for everybody, so that two batches never wait for each other.
    yield* sql`
      SELECT pg_advisory_xact_lock(lock)
      FROM (SELECT DISTINCT hashtextextended(key, ${keyLocks}) AS lock FROM unnest(${keys}::text[]) AS key ORDER BY lock)`
    // A statement of its own: the numbers are drawn after the locks are held.
    yield* sql`
      WITH appended AS (
        INSERT INTO outbox (shard, id, topic, key, headers, payload)
        SELECT (hashtextextended(m.key, ${keyLocks}) & ${lastShard})::smallint, m.id, m.topic, m.key, m.headers, m.payload
        FROM unnest(
          ${ids}::uuid[],
          ${records.map(({ topic }) => topic)}::text[],
          ${keys}::text[],
          ${records.map(({ headers }) => JSON.stringify(headers))}::jsonb[],
          ${records.map(({ value }) => value)}::bytea[]
        ) WITH ORDINALITY AS m (id, topic, key, headers, payload, position)
        ORDER BY m.position
      )
      SELECT pg_notify(${channel}, ${subject})`
  })

  return Effect.fnUntraced(function*(messages) {
    if (messages.length === 0) return
    const trace = yield* RecordHeaders.currentTraceparent
    const records = messages.map((message) => toRecord({ ...message, headers: { ...trace, ...message.headers } }))
    yield* checkSizes(records, maxMessageBytes)
    const transaction = yield* Effect.serviceOption(sql.transactionService)
    const inserted = insert(records, messages.map(({ id }) => id))
    yield* passingFailure(unavailable("append"))(
      Option.isSome(transaction) ? inserted : sql.withTransaction(inserted)
    )
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
      SELECT shard FROM generate_series(0, ${lastShard}) AS shard
      WHERE EXISTS (SELECT FROM outbox WHERE outbox.shard = shard.shard)
    )
    SELECT shard FROM pending
    WHERE pg_try_advisory_xact_lock(${shardLocks}, shard)
      AND set_config('idle_in_transaction_session_timeout', ${timeoutMillis}, true) IS NOT NULL`

  const relay: OutboxStore["Service"]["relay"] = ({ maxBytes, maxMessages, withheld }, publish) => {
    const withheldTopics = withheld.keys.map(({ topic }) => topic)
    const withheldKeys = withheld.keys.map(({ key }) => key)

    const next = (claimed: ReadonlyArray<number>) =>
      sql<Row>`
        SELECT seq, id, topic, key, headers, payload
        FROM (
          SELECT *, sum(octet_length(payload)) OVER (ORDER BY shard, seq) AS bytes
          FROM unnest(${claimed}::smallint[]) AS claimed (shard)
          CROSS JOIN LATERAL (
            SELECT seq, id, topic, key, headers, payload FROM outbox
            WHERE outbox.shard = claimed.shard
              AND topic <> ALL (${withheld.topics}::text[])
              AND (topic, key) NOT IN (SELECT * FROM unnest(${withheldTopics}::text[], ${withheldKeys}::text[]))
            ORDER BY seq LIMIT ${Math.ceil(maxMessages / claimed.length)}
          ) AS messages
        ) AS batch
        WHERE bytes <= ${maxBytes} OR bytes = octet_length(payload)
        ORDER BY shard, seq`

    const claim = Effect.gen(function*() {
      const claimed = yield* claimShards
      // A statement of its own: it sees what the previous owner of the shards left.
      return claimed.length === 0 ? [] : yield* next(claimed.map(({ shard }) => shard))
    })

    // Interruption ends a batch before or while it is published, but not between that and its removal: a program that
    // stops in an orderly way leaves nothing to be published twice.
    return Effect.uninterruptibleMask((restore) =>
      sql.withTransaction(Effect.gen(function*() {
        const rows = yield* restore(claim)
        if (!Array.isReadonlyArrayNonEmpty(rows)) return 0
        yield* restore(publish(rows))
        yield* sql`DELETE FROM outbox WHERE seq = ANY (${rows.map(({ seq }) => seq)}::bigint[])`
        return rows.length
      }))
    ).pipe(anyFailure(unavailable("relay")))
  }

  const backlog = sql<{ readonly count: bigint; readonly age: number }>`
    SELECT count(*) AS count,
      coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 AS age
    FROM outbox`.pipe(
    Effect.map(([row]) => ({ count: Number(row?.count ?? 0), oldestAge: Duration.seconds(row?.age ?? 0) })),
    anyFailure(unavailable("backlog"))
  )

  const list: OutboxStore["Service"]["list"] = ({ before, limit }) =>
    sql<{
      readonly seq: bigint
      readonly id: string
      readonly topic: string
      readonly key: string
      readonly bytes: number
      readonly created_at: Date
    }>`SELECT seq, id, topic, key, octet_length(payload) AS bytes, created_at FROM outbox
      ${before === undefined ? sql`` : sql`WHERE seq < ${before}::bigint`} ORDER BY seq DESC LIMIT ${limit}`.pipe(
      Effect.map(Array.map(({ created_at, seq, ...message }) => ({
        ...message,
        position: String(seq),
        createdAt: DateTime.fromDateUnsafe(created_at)
      }))),
      passingFailure(unavailable("list"))
    )

  return { relay, list, backlog, changes: notifications.latch(subject) }
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
