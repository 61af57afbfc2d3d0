import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/**
 * Rows are few and short-lived, so vacuum must come after a fixed number of dead ones. `shard` is a hash of the key:
 * relays exclude each other by shard, and read each shard in the order of `seq`.
 */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE outbox (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      shard smallint NOT NULL,
      id uuid NOT NULL,
      topic text NOT NULL,
      key text NOT NULL,
      headers jsonb NOT NULL,
      payload bytea NOT NULL,
      created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    ) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)`
  yield* sql`CREATE UNIQUE INDEX outbox_shard_seq ON outbox (shard, seq)`
})
