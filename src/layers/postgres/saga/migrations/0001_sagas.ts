import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/**
 * A saga's row is changed by each write, so its page keeps room for the next version of it, and no index holds what
 * changes often. The indexes on parts of the table hold few rows: sagas end as completed, as a rule.
 *
 * What is recorded is `json`, not `jsonb`: that keeps every string as it was, also one that holds U+0000.
 */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE saga_owners (
      id uuid PRIMARY KEY,
      expires_at timestamptz NOT NULL,
      presence bigint,
      names text[] NOT NULL,
      versions int[] NOT NULL
    ) WITH (fillfactor = 50)`

  // A saga always has an owner: where nobody has it, one whose lease has ended for ever.
  yield* sql`INSERT INTO saga_owners VALUES ('00000000-0000-0000-0000-000000000000', '-infinity', NULL, '{}', '{}')`

  yield* sql`
    CREATE TABLE sagas (
      id text COLLATE "C" PRIMARY KEY CHECK (octet_length(id) <= 512),
      name text NOT NULL,
      version int NOT NULL,
      state text NOT NULL CHECK (state IN ('running', 'compensating', 'completed', 'compensated', 'parked')),
      direction text NOT NULL CHECK (direction IN ('forward', 'committed', 'backward')),
      first_error json,
      parking json,
      input json NOT NULL,
      traceparent text,
      owner uuid NOT NULL,
      epoch int NOT NULL,
      length int NOT NULL,
      recoveries int NOT NULL DEFAULT 0,
      is_cancel_requested boolean NOT NULL DEFAULT false,
      is_watched boolean NOT NULL DEFAULT false,
      started_at timestamptz NOT NULL,
      ended_at timestamptz
    ) WITH (fillfactor = 60)`
  // For claims, renewals, lists.
  yield* sql`CREATE INDEX sagas_active ON sagas (owner) WHERE state IN ('running', 'compensating')`
  yield* sql`
    CREATE INDEX sagas_to_cancel ON sagas (owner) WHERE is_cancel_requested AND state IN ('running', 'compensating')`
  yield* sql`CREATE INDEX sagas_started ON sagas (started_at, id)`
  yield* sql`CREATE INDEX sagas_parked ON sagas (started_at, id) WHERE state = 'parked'`
  yield* sql`CREATE INDEX sagas_compensated ON sagas (started_at, id) WHERE state = 'compensated'`

  // One row a write; `position` is that of its first entry. No foreign key: it would be checked with every write.
  yield* sql`
    CREATE TABLE saga_entries (
      saga_id text COLLATE "C",
      position int,
      entries json NOT NULL,
      PRIMARY KEY (saga_id, position)
    )`
})
