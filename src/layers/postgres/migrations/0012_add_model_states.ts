import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/**
 * A model is there for everybody only while it is `active`: before, it is being made, and after, it is being deleted.
 * Once it is retired its name is free again.
 */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient

  yield* sql`
    ALTER TABLE models
      ADD COLUMN state text NOT NULL DEFAULT 'active'
        CHECK (state IN ('recorded', 'allocated', 'active', 'retired')),
      ADD COLUMN reserved_bytes bigint NOT NULL DEFAULT 0 CHECK (reserved_bytes >= 0),
      DROP CONSTRAINT models_name_key`
  yield* sql`CREATE UNIQUE INDEX models_name ON models (name) WHERE state <> 'retired'`
  yield* sql`CREATE INDEX models_owner ON models (owner)`

  // What a request does beyond one transaction; who repeats it goes on with that.
  yield* sql`ALTER TABLE idempotency_keys ADD COLUMN operation uuid`
})
