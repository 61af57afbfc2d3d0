import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** `identity` is the message's id, or where it stood if it has none: a letter that comes twice is entered once. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE dead_letters (
      id uuid PRIMARY KEY,
      topic text NOT NULL,
      consumer text NOT NULL,
      identity text NOT NULL,
      partition int NOT NULL,
      "offset" bigint NOT NULL,
      key text NOT NULL,
      event_id text,
      error text NOT NULL,
      message text NOT NULL,
      stack text NOT NULL,
      digest text NOT NULL,
      attempts int NOT NULL,
      failed_at timestamptz NOT NULL,
      headers jsonb NOT NULL,
      value bytea,
      state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'replayed', 'discarded')),
      replays int NOT NULL DEFAULT 0,
      changed_at timestamptz NOT NULL DEFAULT now(),
      UNIQUE (topic, consumer, identity)
    )`
  yield* sql`CREATE INDEX dead_letters_state ON dead_letters (state, id)`

  yield* sql`
    CREATE TABLE dead_letter_acts (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      letter_id uuid NOT NULL REFERENCES dead_letters ON DELETE CASCADE,
      act text NOT NULL CHECK (act IN ('replayed', 'discarded', 'returned')),
      actor text NOT NULL,
      reason text,
      at timestamptz NOT NULL DEFAULT clock_timestamp()
    )`
  yield* sql`CREATE INDEX dead_letter_acts_letter ON dead_letter_acts (letter_id, seq)`
})
