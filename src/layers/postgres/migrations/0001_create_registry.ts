import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** The checks of `versions` repeat what the domain's states say: no row can hold a state that the code can't. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    CREATE TABLE artifacts (
      sha256 text PRIMARY KEY CHECK (sha256 ~ '^[0-9a-f]{64}$'),
      size bigint NOT NULL CHECK (size >= 0),
      format text NOT NULL,
      used_at timestamptz NOT NULL DEFAULT now()
    )`

  yield* sql`
    CREATE TABLE models (
      id uuid PRIMARY KEY,
      name text NOT NULL UNIQUE,
      description text NOT NULL,
      tags text[] NOT NULL,
      owner text NOT NULL,
      latest_version int NOT NULL CHECK (latest_version >= 1),
      revision int NOT NULL DEFAULT 1,
      created_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL
    )`
  yield* sql`CREATE INDEX models_tags ON models USING gin (tags)`

  yield* sql`
    CREATE TABLE versions (
      model_id uuid NOT NULL REFERENCES models ON DELETE CASCADE,
      version int NOT NULL CHECK (version >= 1),
      status text NOT NULL,
      artifact text REFERENCES artifacts,
      optimized text REFERENCES artifacts,
      signature jsonb,
      failure jsonb,
      created_at timestamptz NOT NULL,
      updated_at timestamptz NOT NULL,
      PRIMARY KEY (model_id, version),
      CHECK (CASE status
        WHEN 'awaiting_upload' THEN num_nonnulls(artifact, optimized, signature, failure) = 0
        WHEN 'uploaded' THEN artifact IS NOT NULL AND num_nonnulls(optimized, signature, failure) = 0
        WHEN 'validating' THEN artifact IS NOT NULL AND num_nonnulls(optimized, signature, failure) = 0
        WHEN 'converting' THEN num_nulls(artifact, signature) = 0 AND num_nonnulls(optimized, failure) = 0
        WHEN 'deploying' THEN num_nulls(artifact, signature, optimized) = 0 AND failure IS NULL
        WHEN 'ready' THEN num_nulls(artifact, signature, optimized) = 0 AND failure IS NULL
        WHEN 'failed' THEN failure IS NOT NULL AND num_nonnulls(artifact, optimized, signature) = 0
        WHEN 'retired' THEN num_nonnulls(artifact, optimized, signature, failure) = 0
        ELSE false
      END)
    )`
  yield* sql`CREATE INDEX versions_artifact ON versions (artifact) WHERE artifact IS NOT NULL`
  yield* sql`CREATE INDEX versions_optimized ON versions (optimized) WHERE optimized IS NOT NULL`

  yield* sql`
    CREATE TABLE aliases (
      model_id uuid NOT NULL REFERENCES models ON DELETE CASCADE,
      alias text NOT NULL,
      version int NOT NULL,
      PRIMARY KEY (model_id, alias),
      FOREIGN KEY (model_id, version) REFERENCES versions
    )`

  // What happened to each version, for those who watch it.
  yield* sql`
    CREATE TABLE version_history (
      seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      model_id uuid NOT NULL,
      version int NOT NULL,
      status text NOT NULL,
      failure jsonb,
      at timestamptz NOT NULL,
      FOREIGN KEY (model_id, version) REFERENCES versions ON DELETE CASCADE
    )`
  yield* sql`CREATE INDEX version_history_of_version ON version_history (model_id, version, seq)`
})
