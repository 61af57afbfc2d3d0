/** Ids of handled events as rows, written in the transaction of what the event causes. */
import { Data, Duration, Effect, Layer, Option, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { Inbox, InboxUnavailable } from "../../../messaging/Inbox.ts"
import { passingFailure } from "./SqlFailure.ts"

export interface InboxPgOptions {
  /** How long ids are remembered. Default 7 days. */
  readonly remember?: Duration.Input | undefined
  /** How often older ones are forgotten. Default 10 minutes. */
  readonly forgetEvery?: Duration.Input | undefined
}

/** Keeps the caller's own errors, SQL errors among them, apart from those of the inbox. */
class Inner<E> extends Data.TaggedError("Inner")<{ readonly error: E }> {}

/** Rows a statement, so that no statement holds locks for long. */
const forgetBatch = 5_000

export const layer = (options: InboxPgOptions = {}) =>
  Layer.effect(
    Inbox,
    Effect.gen(function*() {
      const sql = (yield* SqlClient.SqlClient).withoutTransforms()
      const rememberMillis = Duration.toMillis(options.remember ?? "7 days")

      const forgetSome = sql`
        DELETE FROM inbox WHERE (consumer, event_id) IN (
          SELECT consumer, event_id FROM inbox
          WHERE handled_at < now() - make_interval(secs => ${rememberMillis / 1000}::float8)
          ORDER BY handled_at LIMIT ${forgetBatch} FOR UPDATE SKIP LOCKED
        ) RETURNING 1`

      yield* forgetSome.pipe(
        Effect.repeat({ while: (forgotten) => forgotten.length === forgetBatch }),
        Effect.catch((error) => Effect.logWarning("The inbox could not forget old ids; it tries again later", error)),
        Effect.repeat(Schedule.spaced(options.forgetEvery ?? "10 minutes")),
        Effect.forkScoped
      )

      const once: Inbox["Service"]["once"] = (consumer, eventId, effect) =>
        sql.withTransaction(Effect.gen(function*() {
          // Waits while another transaction holds the same id, and finds a row only if that one committed.
          const recorded = yield* sql`
            INSERT INTO inbox (consumer, event_id) VALUES (${consumer}, ${eventId})
            ON CONFLICT DO NOTHING RETURNING 1`
          if (recorded.length === 0) return Option.none()
          return Option.some(yield* Effect.mapError(effect, (error) => new Inner({ error })))
        })).pipe(
          passingFailure((cause) => new InboxUnavailable({ operation: "once", cause })),
          Effect.catchTag("Inner", ({ error }) => Effect.fail(error))
        )

      return Inbox.of({ once })
    })
  )
