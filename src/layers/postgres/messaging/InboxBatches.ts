/**
 * Transactions that several events share: the round trips and the flush of the log that one costs are then paid once for
 * all of them. Who comes while transactions are under way waits for the next, so that there is one event in each as long
 * as there is little to do, and nobody waits for others to come.
 *
 * Each effect runs in the fiber that asked for it, one after the other.
 */
import { Array, Data, Deferred, Effect, Latch } from "effect"
import type { Context, Scope } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { answering, isServerAway } from "../ServerAway.ts"

/** More would let more flushes overlap; each takes a connection of the pool. */
const transactionsAtOnce = 4
/** So that no transaction holds what it has locked for long. */
const largestBatch = 100

/** What became of the transaction: `undone` when an effect failed in it, or something that one alone may escape. */
type Verdict = "kept" | "undone"

/** An event whose effect is to run once. */
export class Entry {
  readonly consumer: string
  readonly eventId: string
  /** Of who asked: what the transaction does is part of what the first of its events does. */
  readonly context: Context.Context<never>
  /** The transaction to run the effect in; without one it is not to be run, as that was done before. */
  readonly turn = Deferred.makeUnsafe<Context.Context<never> | undefined>()
  readonly verdict = Deferred.makeUnsafe<Verdict, SqlError.SqlError>()
  readonly #hasSucceeded = Deferred.makeUnsafe<boolean>()
  isShared = false

  constructor(consumer: string, eventId: string, context: Context.Context<never>) {
    this.consumer = consumer
    this.eventId = eventId
    this.context = context
  }

  /** Hands the transaction to who asked, and returns when the effect has ended. */
  run(transaction: Context.Context<never>): Effect.Effect<boolean> {
    Deferred.doneUnsafe(this.turn, Effect.succeed(transaction))
    return Deferred.await(this.#hasSucceeded)
  }

  /** Once for each entry; whatever comes later is not heard. */
  ended(hasSucceeded: boolean): void {
    Deferred.doneUnsafe(this.#hasSucceeded, Effect.succeed(hasSucceeded))
  }

  /** Who has no turn until then gets none. */
  settle(verdict: Effect.Effect<Verdict, SqlError.SqlError>): void {
    Deferred.doneUnsafe(this.verdict, verdict)
    Deferred.doneUnsafe(this.turn, Effect.undefined)
  }
}

/** An effect has failed. */
class Undone extends Data.TaggedError("Undone") {}

const nameOf = (consumer: string, eventId: string) => JSON.stringify([consumer, eventId])

/** Answers how to put an entry into one of the next transactions; that answers how to withdraw it. */
export const make = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient
): Effect.fn.Return<(entry: Entry) => () => void, never, Scope.Scope> {
  /** One for each fiber that waits, so as bounded as those are. */
  const waiting = new Set<Entry>()
  const arrived = Latch.makeUnsafe(false)

  const share = Effect.fnUntraced(function*(entries: ReadonlyArray<Entry>) {
    const transaction = yield* Effect.context()
    // In one order for everybody, so that two transactions never wait for each other here.
    const recorded = yield* sql<{ readonly consumer: string; readonly event_id: string }>`
      INSERT INTO inbox (consumer, event_id)
      SELECT * FROM unnest(
        ${entries.map(({ consumer }) => consumer)}::text[], ${entries.map(({ eventId }) => eventId)}::text[]
      ) ORDER BY 1, 2
      ON CONFLICT DO NOTHING RETURNING consumer, event_id`
    const fresh = new Set(recorded.map(({ consumer, event_id }) => nameOf(consumer, event_id)))
    for (const entry of entries) {
      // Of two entries of one event the second is a repetition.
      if (fresh.delete(nameOf(entry.consumer, entry.eventId)) && !(yield* entry.run(transaction))) {
        return yield* new Undone()
      }
    }
  })

  const settle = (entries: ReadonlyArray<Entry>, context: Context.Context<never>) => {
    const isShared = entries.length > 1
    for (const entry of entries) entry.isShared = isShared
    return sql.withTransaction(share(entries)).pipe(
      answering((error): Effect.Effect<never, Undone | SqlError.SqlError> =>
        isShared && !isServerAway(error) ? new Undone() : Effect.fail(error)
      ),
      Effect.as("kept" as const),
      Effect.catchTag("Undone", () => Effect.succeed("undone" as const)),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          for (const entry of entries) entry.settle(exit)
        })
      ),
      Effect.provideContext(context),
      // They have heard it.
      Effect.ignore
    )
  }

  const next = Effect.suspend(() => {
    const entries = Array.take(waiting, largestBatch)
    for (const entry of entries) waiting.delete(entry)
    const [first] = entries
    if (first !== undefined) return settle(entries, first.context)
    arrived.closeUnsafe()
    return arrived.await
  })

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const entry of waiting) entry.settle(Effect.interrupt)
    })
  )
  yield* Effect.replicateEffect(Effect.forkScoped(Effect.forever(next)), transactionsAtOnce)

  return (entry) => {
    waiting.add(entry)
    arrived.openUnsafe()
    return () => {
      waiting.delete(entry)
      entry.ended(false)
    }
  }
})
