import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/**
 * A partition's `next_offset` is locked from the append of records until their commit. So offsets have no gaps, and
 * records become visible in the order of their offsets: a reader that has seen offset n will never find a smaller one
 * later.
 */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE event_log_partitions (
      id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      topic text NOT NULL,
      partition int NOT NULL CHECK (partition >= 0),
      start_offset bigint NOT NULL DEFAULT 0,
      next_offset bigint NOT NULL DEFAULT 0 CHECK (next_offset >= start_offset),
      UNIQUE (topic, partition)
    ) WITH (fillfactor = 50)`

  yield* sql`
    CREATE TABLE event_log_records (
      partition_id int NOT NULL REFERENCES event_log_partitions,
      "offset" bigint NOT NULL,
      key text NOT NULL,
      value bytea NOT NULL,
      headers jsonb NOT NULL,
      published_at timestamptz NOT NULL,
      PRIMARY KEY (partition_id, "offset")
    )`

  yield* sql`CREATE TABLE event_log_groups (name text PRIMARY KEY)`

  yield* sql`
    CREATE TABLE event_log_members (
      id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      group_name text NOT NULL REFERENCES event_log_groups,
      topics text[] NOT NULL,
      expires_at timestamptz NOT NULL
    )`
  yield* sql`CREATE INDEX event_log_members_group ON event_log_members (group_name)`

  yield* sql`
    CREATE TABLE event_log_offsets (
      group_name text NOT NULL REFERENCES event_log_groups,
      partition_id int NOT NULL REFERENCES event_log_partitions,
      committed bigint NOT NULL,
      owner uuid REFERENCES event_log_members ON DELETE SET NULL,
      generation bigint NOT NULL DEFAULT 0,
      PRIMARY KEY (group_name, partition_id)
    ) WITH (fillfactor = 50)`
  yield* sql`CREATE INDEX event_log_offsets_owner ON event_log_offsets (owner)`
})
