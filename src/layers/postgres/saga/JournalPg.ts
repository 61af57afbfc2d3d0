/**
 * Sagas as rows. Each write is one statement, which the saga's epoch guards; writes of several sagas at once go in one.
 * Whoever waits for something is woken by notifications.
 */
import { Duration, Effect, Latch, Layer, Option } from "effect"
import { SqlClient } from "effect/sql"
import { Journal } from "../../../saga/Journal.ts"
import type { SagaState } from "../../../saga/SagaStatus.ts"
import { channel, Notifications } from "../messaging/Notifications.ts"
import { passingFailure } from "../messaging/SqlFailure.ts"
import * as SagaOwners from "./SagaOwners.ts"
import * as SagaRetention from "./SagaRetention.ts"
import {
  changesSubject,
  isActive,
  nobody,
  recordColumns,
  summaryColumns,
  toSummary,
  watchSubject,
  withEntries
} from "./SagaRows.ts"
import type { RecordRow, SummaryRow } from "./SagaRows.ts"
import * as SagaWrites from "./SagaWrites.ts"
import { unavailable } from "./SagaWrites.ts"

export interface JournalPgOptions extends SagaRetention.Options {
  /** How long an owner may fall silent before its sagas go to others. Default 10 seconds. */
  readonly lease?: Duration.Input | undefined
}

const failure = (operation: string) => passingFailure(unavailable(operation))

const make = Effect.fnUntraced(function*(options: JournalPgOptions) {
  const sql = (yield* SqlClient.SqlClient).withoutTransforms()
  const notifications = yield* Notifications
  const lease = Duration.fromInputUnsafe(options.lease ?? "10 seconds")
  const active = isActive(sql)
  yield* Effect.forkScoped(SagaRetention.run(sql, options))

  const readOne = (rows: ReadonlyArray<RecordRow>) =>
    Effect.map(withEntries(sql, rows), ([record]) => Option.fromUndefinedOr(record))

  const find: Journal["Service"]["find"] = (sagaId) =>
    sql<RecordRow>`SELECT ${recordColumns(sql)} FROM sagas AS s WHERE s.id = ${sagaId}`.pipe(
      Effect.flatMap(readOne),
      failure("find")
    )

  const seize: Journal["Service"]["seize"] = (sagaId) =>
    sql<RecordRow>`
      UPDATE sagas AS s SET epoch = s.epoch + 1, owner = ${nobody}::uuid WHERE s.id = ${sagaId} AND s.state = 'parked'
      RETURNING ${recordColumns(sql)}`.pipe(Effect.flatMap(readOne), failure("seize"))

  const requestCancel: Journal["Service"]["requestCancel"] = (sagaId) =>
    sql`
      WITH requested AS (
        UPDATE sagas SET is_cancel_requested = true WHERE id = ${sagaId} AND state NOT IN ('completed', 'compensated')
        RETURNING 1
      )
      SELECT pg_notify(${channel}, ${changesSubject}) FROM requested`.pipe(Effect.asVoid, failure("requestCancel"))

  const holds: Journal["Service"]["holds"] = (sagaId, epoch) =>
    sql`SELECT 1 FROM sagas WHERE id = ${sagaId} AND epoch = ${epoch}`.pipe(
      Effect.map((rows) => rows.length > 0),
      failure("holds")
    )

  /** Written out, so that the planner can take the index on those few. */
  const isIn = (state: SagaState | undefined) => state === undefined ? sql`true` : sql.literal(`s.state = '${state}'`)

  const list: Journal["Service"]["list"] = ({ after, limit, state }) =>
    sql<SummaryRow>`
      SELECT ${summaryColumns(sql)} FROM sagas AS s
      WHERE ${isIn(state)} AND ${
      after === undefined
        ? sql`true`
        : sql`(s.started_at, s.id) < (to_timestamp(${after.startedAt}::float8 / 1000), ${after.id})`
    }
      ORDER BY s.started_at DESC, s.id DESC LIMIT ${limit}`.pipe(
      Effect.map((rows) => rows.map(toSummary)),
      failure("list")
    )

  const parked: Journal["Service"]["parked"] = sql<{ readonly name: string; readonly count: number }>`
    SELECT s.name, count(*)::int AS count FROM sagas AS s WHERE s.state = 'parked' GROUP BY s.name`.pipe(
    Effect.map((rows) => new Map(rows.map(({ count, name }) => [name, count]))),
    failure("parked")
  )

  const claimants = new Set<Latch.Latch>()
  const changes: Journal["Service"]["changes"] = Effect.tap(
    notifications.latch(changesSubject),
    (latch) =>
      Effect.acquireRelease(
        Effect.sync(() => claimants.add(latch)),
        () => Effect.sync(() => claimants.delete(latch))
      )
  )

  /** The end of a saga is told only where somebody has said that he waits for it. */
  const watch: Journal["Service"]["watch"] = (sagaId) =>
    Effect.tap(
      notifications.latch(watchSubject(sagaId)),
      () =>
        sql`UPDATE sagas AS s SET is_watched = true WHERE s.id = ${sagaId} AND NOT s.is_watched AND ${active}`.pipe(
          failure("watch")
        )
    )

  return Journal.of({
    lease,
    ...SagaOwners.make({
      sql,
      notifications,
      lease,
      lookAgain: Effect.sync(() => {
        for (const latch of claimants) latch.openUnsafe()
      }),
      scope: yield* Effect.scope
    }),
    ...(yield* SagaWrites.make(sql, lease, find)),
    holds,
    seize,
    requestCancel,
    find,
    list,
    parked,
    changes,
    watch
  })
})

export const layer = (options: JournalPgOptions = {}) => Layer.effect(Journal, make(options))
