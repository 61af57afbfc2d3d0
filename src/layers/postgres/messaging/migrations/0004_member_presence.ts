import { Effect } from "effect"
import { SqlClient } from "effect/sql"

/** `presence` is the advisory lock that the member's process holds while it is there; see `Notifications`. */
export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql`ALTER TABLE event_log_members ADD COLUMN presence bigint`
})
