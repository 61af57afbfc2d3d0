import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE api_keys (
      id uuid PRIMARY KEY,
      name text NOT NULL,
      digest bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
      scopes text[] NOT NULL,
      created_at timestamptz NOT NULL,
      expires_at timestamptz,
      revoked_at timestamptz
    )`

  // A row without an answer is a request under way; its lease says until when its process is believed alive.
  yield* sql`
    CREATE TABLE idempotency_keys (
      key_id uuid NOT NULL,
      idempotency_key text NOT NULL,
      fingerprint text NOT NULL,
      lease_until timestamptz NOT NULL,
      status int,
      headers jsonb,
      body bytea,
      created_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (key_id, idempotency_key)
    )`
  yield* sql`CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at)`
})
