import { Array as Arr, Effect, Option, Schema } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { SagaRecord, SagaSummary } from "../../../saga/Journal.ts"
import { FirstError, Parking } from "../../../saga/SagaStatus.ts"
import type { Direction, SagaState } from "../../../saga/SagaStatus.ts"

/** The owner of what nobody has. */
export const nobody = "00000000-0000-0000-0000-000000000000"

/** The subject of notifications that there may be something to claim or to cancel. */
export const changesSubject = "sagas"
const watchPrefix = "saga/"
/** The subject of notifications that a saga has ended or was parked. */
export const watchSubject = (sagaId: string): string => watchPrefix + sagaId

/** As an expression on `id`. */
export const watchSubjectOf = (sql: SqlClient.SqlClient, id: string) => sql.literal(`'${watchPrefix}' || ${id}`)

/** Written out, as the conditions of the indexes are. */
export const isActive = (sql: SqlClient.SqlClient) => sql.literal("s.state IN ('running', 'compensating')")

export interface SummaryRow {
  readonly id: string
  readonly name: string
  readonly version: number
  readonly state: SagaState
  readonly direction: Direction
  readonly firstError: unknown
  readonly parking: unknown
  readonly startedAt: number
  readonly endedAt: number | null
}

export interface RecordRow extends SummaryRow {
  readonly input: Schema.Json
  readonly traceparent: string | null
  readonly epoch: number
  readonly length: number
  readonly recoveries: number
  readonly isCancelRequested: boolean
}

const millis = (column: string) => `(extract(epoch FROM s.${column}) * 1000)::float8`

/** The columns of `sagas AS s`. */
export const summaryColumns = (sql: SqlClient.SqlClient) =>
  sql.literal(`
    s.id, s.name, s.version, s.state, s.direction, s.first_error AS "firstError", s.parking,
    ${millis("started_at")} AS "startedAt", ${millis("ended_at")} AS "endedAt"`)

export const recordColumns = (sql: SqlClient.SqlClient) =>
  sql`${summaryColumns(sql)}, s.input, s.traceparent, s.epoch, s.length, s.recoveries,
    s.is_cancel_requested AS "isCancelRequested"`

const decodeFirstError = Schema.decodeUnknownOption(FirstError)
const decodeParking = Schema.decodeUnknownOption(Parking)

/** What somebody has written into the row by hand may make no sense; that must not hide the saga. */
const readable = <A>(value: unknown, decode: (value: unknown) => Option.Option<A>, otherwise: A): A | null =>
  value === null ? null : Option.getOrElse(decode(value), () => otherwise)

const unreadableError: FirstError = { step: null, error: { tag: "Unreadable", message: "The row does not decode" } }
const unreadableParking: Parking = { reason: "journal-unreadable", step: null, error: null }

export const toSummary = (row: SummaryRow): SagaSummary => ({
  id: row.id,
  name: row.name,
  version: row.version,
  status: {
    state: row.state,
    direction: row.direction,
    firstError: readable(row.firstError, decodeFirstError, unreadableError),
    parking: readable(row.parking, decodeParking, unreadableParking)
  },
  startedAt: row.startedAt,
  endedAt: row.endedAt ?? undefined
})

interface EntriesRow {
  readonly sagaId: string
  readonly position: number
  readonly entries: unknown
}

/**
 * Puts each entry in its place. Where a row is not as it was written, its places hold what decodes to no entry. Rows
 * beyond the length were written since that was read.
 */
const inPlace = (places: Array<unknown> | undefined, { entries, position }: EntriesRow) => {
  for (const [index, entry] of Arr.ensure<unknown>(entries).entries()) {
    if (places !== undefined && position + index < places.length) places[position + index] = entry
  }
}

/**
 * Reads the entries of sagas whose rows were read before. A statement of its own: after a takeover it sees what the
 * former owner wrote until then.
 */
export const withEntries = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  rows: ReadonlyArray<RecordRow>
): Effect.fn.Return<ReadonlyArray<SagaRecord>, SqlError.SqlError> {
  if (rows.length === 0) return []
  const found = yield* sql<EntriesRow>`
    SELECT saga_id AS "sagaId", position, entries FROM saga_entries
    WHERE saga_id = ANY (${rows.map(({ id }) => id)}::text[])`
  const entries = new Map(rows.map(({ id, length }) => [id, Array.from({ length }, (): unknown => null)]))
  for (const one of found) inPlace(entries.get(one.sagaId), one)
  return rows.map((row) => ({
    ...toSummary(row),
    input: row.input,
    entries: entries.get(row.id) ?? [],
    epoch: row.epoch,
    recoveries: row.recoveries,
    isCancelRequested: row.isCancelRequested,
    traceparent: row.traceparent ?? undefined
  }))
})
