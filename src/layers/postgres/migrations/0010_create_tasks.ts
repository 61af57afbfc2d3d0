import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/**
 * `inputs` describes the tensors whose bytes `data` holds, one after the other; both are freed at the end. The check
 * repeats what the domain's states say: no row can hold a state that the code can't.
 */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE tasks (
      id uuid PRIMARY KEY,
      key_id uuid NOT NULL,
      model_id uuid NOT NULL,
      model text NOT NULL,
      version int NOT NULL CHECK (version >= 1),
      state text NOT NULL,
      attempt int NOT NULL DEFAULT 0 CHECK (attempt >= 0),
      lost int NOT NULL DEFAULT 0 CHECK (lost >= 0),
      inputs jsonb,
      data bytea,
      outputs text,
      error jsonb,
      created_at timestamptz NOT NULL,
      started_at timestamptz,
      ended_at timestamptz,
      expires_at timestamptz NOT NULL,
      CHECK ((ended_at IS NULL) = (inputs IS NOT NULL) AND (ended_at IS NULL) = (data IS NOT NULL)),
      CHECK (CASE state
        WHEN 'queued' THEN num_nonnulls(started_at, ended_at, outputs, error) = 0
        WHEN 'running' THEN started_at IS NOT NULL AND num_nonnulls(ended_at, outputs, error) = 0
        WHEN 'succeeded' THEN num_nulls(ended_at, outputs) = 0 AND error IS NULL
        WHEN 'failed' THEN num_nulls(ended_at, error) = 0 AND outputs IS NULL
        WHEN 'cancelled' THEN ended_at IS NOT NULL AND num_nonnulls(outputs, error) = 0
        WHEN 'expired' THEN ended_at IS NOT NULL AND num_nonnulls(outputs, error) = 0
        ELSE false
      END)
    )`
  yield* sql`CREATE INDEX tasks_of_key ON tasks (key_id, id)`
  yield* sql`CREATE INDEX tasks_unfinished_of_key ON tasks (key_id) WHERE ended_at IS NULL`
  yield* sql`CREATE INDEX tasks_overdue ON tasks (expires_at) WHERE ended_at IS NULL`
  yield* sql`CREATE INDEX tasks_to_forget ON tasks (expires_at) WHERE ended_at IS NOT NULL`

  // What happened to each task, for those who watch it.
  yield* sql`
    CREATE TABLE task_history (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      task_id uuid NOT NULL REFERENCES tasks ON DELETE CASCADE,
      state text NOT NULL,
      error jsonb,
      at timestamptz NOT NULL
    )`
  yield* sql`CREATE INDEX task_history_of_task ON task_history (task_id, seq)`
})
