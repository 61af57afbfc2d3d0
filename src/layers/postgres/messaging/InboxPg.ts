/** Ids of handled events as rows, written in the transaction of what the event causes. */
import { Context, Data, Deferred, Duration, Effect, Exit, Layer, Option, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { Inbox, InboxUnavailable } from "../../../messaging/Inbox.ts"
import * as InboxBatches from "./InboxBatches.ts"
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

      const enter = yield* InboxBatches.make(sql)

      const onceInBatch: Inbox["Service"]["onceTogether"] = <A, E, R>(
        consumer: string,
        eventId: string,
        effect: Effect.Effect<A, E, R>
      ) =>
        Effect.contextWith((context: Context.Context<R>) => {
          const entry = new InboxBatches.Entry(consumer, eventId, context)
          const withdraw = enter(entry)
          return Effect.gen(function*() {
            const transaction = yield* Deferred.await(entry.turn)
            const exit = transaction === undefined
              ? undefined
              : yield* Effect.exit(Effect.provideContext(effect, Context.merge(transaction, context)))
            if (exit !== undefined) entry.ended(Exit.isSuccess(exit))
            const verdict = yield* passingFailure((cause) =>
              new InboxUnavailable({ operation: "onceTogether", cause })
            )(Deferred.await(entry.verdict))
            if (verdict === "undone" && entry.isShared) return yield* once(consumer, eventId, effect)
            return exit === undefined ? Option.none() : Option.some(yield* exit)
          }).pipe(Effect.onInterrupt(() => Effect.sync(withdraw)))
        })

      const onceTogether: Inbox["Service"]["onceTogether"] = (consumer, eventId, effect) =>
        Effect.flatMap(Effect.serviceOption(sql.transactionService), (transaction) =>
          Option.isSome(transaction) ? once(consumer, eventId, effect) : onceInBatch(consumer, eventId, effect))

      return Inbox.of({ once, onceTogether })
    })
  )
