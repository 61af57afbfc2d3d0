/** What owners write: new sagas, entries, and entries in one transaction with what they tell of. */
import { Array, Cause, Clock, Data, Duration, Effect, Exit, Option } from "effect"
import { SqlError } from "effect/sql"
import type { SqlClient } from "effect/sql"
import { firstEpoch } from "../../../saga/Journal.ts"
import type { Journal, NewSaga, Write } from "../../../saga/Journal.ts"
import { JournalUnavailable, LeaseLost } from "../../../saga/SagaError.ts"
import { isEnded } from "../../../saga/SagaStatus.ts"
import { channel } from "../messaging/Notifications.ts"
import { isPassing, passingFailure } from "../messaging/SqlFailure.ts"
import { changesSubject, nobody, watchSubjectOf } from "./SagaRows.ts"
import * as WriteBatches from "./WriteBatches.ts"

export const unavailable = (operation: string) => (cause: unknown) => new JournalUnavailable({ operation, cause })

/** Writes in one statement, and such statements at once. */
const batching = { maxItems: 200, concurrency: 2 }

interface Timed<A> {
  readonly value: A
  /** Milliseconds since 1970. */
  readonly now: number
}

interface Creation {
  readonly saga: NewSaga
  readonly first: Pick<Write, "entries" | "status" | "isLast">
}

/** Null is the empty text. */
const json = (value: unknown): string => value === null ? "" : JSON.stringify(value)

/**
 * Writes as rows. To the planner it is one row, whatever it is: so each row of `sagas` is found by its index, however
 * small the table was when the plan was made. What is recorded is sent as text: so strings are kept as they are.
 */
const rowsOf = (sql: SqlClient.SqlClient, writes: ReadonlyArray<Timed<Write>>) => {
  const values = writes.map(({ value }) => value)
  const statuses = values.map(({ status }) => status)
  return sql`
    SELECT id, epoch, position, length, entries::json, state, direction, nullif(first_error, '')::json AS first_error,
      nullif(parking, '')::json AS parking, is_last, to_timestamp(nullif(ended_at, '')::float8 / 1000) AS ended_at, place
    FROM unnest(
      ${values.map(({ sagaId }) => sagaId)}::text[],
      ${values.map(({ epoch }) => epoch)}::int[],
      ${values.map(({ position }) => position)}::int[],
      ${values.map(({ entries, position }) => position + entries.length)}::int[],
      ${values.map(({ entries }) => json(entries))}::text[],
      ${statuses.map(({ state }) => state)}::text[],
      ${statuses.map(({ direction }) => direction)}::text[],
      ${statuses.map(({ firstError }) => json(firstError))}::text[],
      ${statuses.map(({ parking }) => json(parking))}::text[],
      ${values.map(({ isLast }) => isLast)}::boolean[],
      ${writes.map(({ now, value: { status } }) => isEnded(status.state) ? String(now) : "")}::text[]
    ) WITH ORDINALITY
      AS writes (id, epoch, position, length, entries, state, direction, first_error, parking, is_last, ended_at, place)
    WHERE json_typeof(entries::json) = 'array'`
}

/** The rest of new sagas, in the same order. */
const creationsOf = (sql: SqlClient.SqlClient, creations: ReadonlyArray<Timed<Creation>>) => {
  const sagas = creations.map(({ value }) => value.saga)
  const owners = creations.map(({ value: { first, saga } }) =>
    first.isLast || saga.owner === undefined ? nobody : saga.owner
  )
  return sql`
    SELECT name, version, input::json, nullif(traceparent, '') AS traceparent, owner::uuid,
      to_timestamp(started_at::float8 / 1000) AS started_at, place
    FROM unnest(
      ${sagas.map(({ name }) => name)}::text[],
      ${sagas.map(({ version }) => version)}::int[],
      ${sagas.map(({ input }) => JSON.stringify(input))}::text[],
      ${sagas.map(({ traceparent }) => traceparent ?? "")}::text[],
      ${owners}::text[],
      ${sagas.map(({ startedAt }) => String(startedAt))}::text[]
    ) WITH ORDINALITY AS sagas (name, version, input, traceparent, owner, started_at, place)`
}

const makeAppend = (sql: SqlClient.SqlClient) => {
  /** Returns the ids of the sagas that were written to. */
  const update = (writes: ReadonlyArray<Timed<Write>>) =>
    sql<{ readonly id: string }>`
      WITH input AS MATERIALIZED (${rowsOf(sql, writes)}
      ), written AS (
        UPDATE sagas AS s SET length = input.length, state = input.state, direction = input.direction,
          first_error = input.first_error, parking = input.parking, ended_at = input.ended_at,
          recoveries = 0, owner = CASE WHEN input.is_last THEN ${nobody}::uuid ELSE s.owner END
        FROM input WHERE s.id = input.id AND s.epoch = input.epoch AND s.length = input.position
        RETURNING s.id, input.position, input.length, input.entries,
          CASE WHEN NOT input.is_last THEN NULL
            WHEN s.state IN ('running', 'compensating') THEN ${changesSubject}
            WHEN s.is_watched THEN ${watchSubjectOf(sql, "s.id")} END AS subject
      ), recorded AS (
        INSERT INTO saga_entries (saga_id, position, entries)
        SELECT id, position, entries FROM written WHERE length > position
      )
      SELECT id, CASE WHEN subject IS NOT NULL THEN pg_notify(${channel}, subject) END FROM written`

  /** Whether the owner still is one: then its write has been made before, and only nobody had heard of that. */
  const wasMade = (sagaIds: ReadonlyArray<string>) =>
    sql<{ readonly id: string; readonly epoch: number; readonly length: number }>`
      SELECT id, epoch, length FROM sagas WHERE id = ANY (${sagaIds}::text[])`

  const lost = ({ sagaId }: Write): Exit.Exit<never, LeaseLost> => Exit.fail(new LeaseLost({ sagaId }))

  const writeAll = Effect.fnUntraced(function*(writes: Array.NonEmptyReadonlyArray<Timed<Write>>) {
    const done = new Set((yield* update(writes)).map(({ id }) => id))
    const left = writes.flatMap(({ value }) => done.has(value.sagaId) ? [] : [value])
    if (left.length === 0) return writes.map(() => Exit.void)
    const found = new Map((yield* wasMade(left.map(({ sagaId }) => sagaId))).map((row) => [row.id, row]))
    return writes.map(({ value }): Exit.Exit<void, LeaseLost> => {
      if (done.has(value.sagaId)) return Exit.void
      const row = found.get(value.sagaId)
      const isMade = row?.epoch === value.epoch && row.length >= value.position + value.entries.length
      return isMade ? Exit.void : lost(value)
    })
  })

  return { update, writeAll }
}

const makeCreate = (sql: SqlClient.SqlClient) => {
  /** Returns the ids of the sagas that are new. An owner that has been forgotten can't have any. */
  const insert = (creations: ReadonlyArray<Timed<Creation>>) => {
    const writes = creations.map(({ now, value: { first, saga } }) => ({
      now,
      value: { ...first, sagaId: saga.id, epoch: saga.owner === undefined ? 0 : firstEpoch, position: 0 }
    }))
    return sql<{ readonly id: string }>`
      WITH input AS MATERIALIZED (
        SELECT * FROM (${rowsOf(sql, writes)}) AS writes JOIN (${creationsOf(sql, creations)}) AS sagas USING (place)
      ), created AS (
        INSERT INTO sagas (id, name, version, state, direction, first_error, parking, input, traceparent, owner, epoch,
          length, started_at, ended_at)
        SELECT id, name, version, state, direction, first_error, parking, input, traceparent,
          coalesce((SELECT o.id FROM saga_owners AS o WHERE o.id = input.owner), ${nobody}::uuid), epoch,
          length, started_at, ended_at
        FROM input
        ON CONFLICT (id) DO NOTHING
        RETURNING id, state, owner
      ), recorded AS (
        INSERT INTO saga_entries (saga_id, position, entries)
        SELECT id, 0, entries FROM created JOIN input USING (id) WHERE length > 0
      )
      SELECT id, CASE WHEN owner = ${nobody}::uuid AND state IN ('running', 'compensating')
        THEN pg_notify(${channel}, ${changesSubject}) END FROM created`
  }

  return Effect.fnUntraced(function*(creations: Array.NonEmptyReadonlyArray<Timed<Creation>>) {
    // Of several with one id the first is written; the others find it there
    const firsts = new Map(creations.toReversed().map((one) => [one.value.saga.id, one]))
    const fresh = new Set((yield* insert([...firsts.values()])).map(({ id }) => id))
    return creations.map(({ value }) => Exit.succeed(fresh.delete(value.saga.id)))
  })
}

/** Ends a transaction whose effect failed. */
class Failed<A, E> extends Data.TaggedError("Failed")<{ readonly exit: Exit.Exit<A, E> }> {}

/** The transaction's connection was lost, or it was chosen to give way to another: the effect is not to blame. */
const passing = (exit: Exit.Exit<unknown, unknown>): SqlError.SqlError | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  for (const reason of exit.cause.reasons) {
    const error = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    if (SqlError.isSqlError(error) && isPassing(error)) return error
  }
  return undefined
}

export const make = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  lease: Duration.Duration,
  find: Journal["Service"]["find"]
) {
  const { update, writeAll } = makeAppend(sql)
  const insertAll = makeCreate(sql)
  const timed = <A>(value: A) => Effect.map(Clock.currentTimeMillis, (now): Timed<A> => ({ value, now }))
  const appended = yield* WriteBatches.make<Timed<Write>, void, JournalUnavailable | LeaseLost>({
    ...batching,
    write: (writes) => passingFailure(unavailable("append"))(writeAll(writes))
  })
  const inserted = yield* WriteBatches.make<Timed<Creation>, boolean, JournalUnavailable>({
    ...batching,
    write: (creations) => passingFailure(unavailable("create"))(insertAll(creations))
  })

  // Who is paused within the transaction does not hold its locks for longer than its lease.
  const limit = sql`
    SELECT set_config('idle_in_transaction_session_timeout', ${String(Math.ceil(Duration.toMillis(lease)))}, true)`

  const transact: Journal["Service"]["transact"] = (effect, write) =>
    sql.withTransaction(Effect.gen(function*() {
      yield* limit
      const exit = yield* Effect.exit(effect)
      if (Exit.isFailure(exit)) {
        const error = passing(exit)
        return yield* error === undefined ? new Failed({ exit }) : Effect.fail(error)
      }
      const one = yield* timed(write(exit.value))
      const { sagaId } = one.value
      if ((yield* update([one])).length === 0) return yield* new LeaseLost({ sagaId })
      return exit
    })).pipe(
      passingFailure(unavailable("transact")),
      Effect.catchTag("Failed", ({ exit }) => Effect.succeed(exit))
    )

  const create: Journal["Service"]["create"] = Effect.fnUntraced(function*(saga, first) {
    if (yield* Effect.flatMap(timed({ saga, first }), inserted)) return Option.none()
    const existing = yield* find(saga.id)
    // Forgotten in between, by its age
    return Option.isSome(existing) ? existing : yield* unavailable("create")(new Error("the saga has just gone"))
  })

  return {
    append: (write: Write) => Effect.flatMap(timed(write), appended),
    create,
    transact
  }
})
