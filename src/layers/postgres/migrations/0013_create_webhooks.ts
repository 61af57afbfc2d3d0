import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** Secrets are kept as they are: what signs with them must have them. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE webhooks (
      id uuid PRIMARY KEY,
      key_id uuid NOT NULL,
      url text NOT NULL,
      events text[] NOT NULL,
      secret bytea NOT NULL,
      previous_secret bytea,
      previous_until timestamptz,
      created_at timestamptz NOT NULL,
      CHECK (num_nonnulls(previous_secret, previous_until) IN (0, 2))
    )`
  yield* sql`CREATE INDEX webhooks_of_key ON webhooks (key_id, id)`

  yield* sql`
    CREATE TABLE webhook_deliveries (
      id uuid PRIMARY KEY,
      webhook_id uuid NOT NULL REFERENCES webhooks ON DELETE CASCADE,
      type text NOT NULL,
      task_id uuid NOT NULL,
      body text NOT NULL,
      state text NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
      round int NOT NULL DEFAULT 1 CHECK (round >= 1),
      attempts int NOT NULL DEFAULT 0 CHECK (attempts >= 0),
      created_at timestamptz NOT NULL,
      ended_at timestamptz,
      CHECK ((state = 'pending') = (ended_at IS NULL))
    )`
  yield* sql`CREATE INDEX webhook_deliveries_of_webhook ON webhook_deliveries (webhook_id, id)`
  yield* sql`CREATE INDEX webhook_deliveries_created_at ON webhook_deliveries (created_at)`

  yield* sql`
    CREATE TABLE webhook_attempts (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      delivery_id uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
      at timestamptz NOT NULL,
      status int,
      error text,
      milliseconds int NOT NULL
    )`
  yield* sql`CREATE INDEX webhook_attempts_of_delivery ON webhook_attempts (delivery_id, seq)`
})
