/** Who refers to large payloads: rows of the outbox and of the book of dead letters, by their headers. */
import { Effect, Layer, Option, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { PayloadReferences, PayloadReferencesUnavailable } from "../../../messaging/PayloadSweep.ts"
import * as RecordHeaders from "../../../messaging/RecordHeaders.ts"
import { anyFailure } from "./SqlFailure.ts"

const header = RecordHeaders.payload.location
/** Rows of the outbox a statement, so that a backlog of any size fits in memory. */
const page = 1_000

const failure = anyFailure((cause) => new PayloadReferencesUnavailable({ cause }))

export const layer = Layer.effect(
  PayloadReferences,
  Effect.map(SqlClient.SqlClient, (client) => {
    const sql = client.withoutTransforms()

    const waitingAfter = (ageMillis: number) => (after: bigint) =>
      sql<{ readonly seq: bigint; readonly location: string }>`
        SELECT seq, headers ->> ${header}::text AS location FROM outbox
        WHERE seq > ${after} AND headers ? ${header}::text
          AND created_at < clock_timestamp() - make_interval(secs => ${ageMillis / 1000}::float8)
        ORDER BY seq LIMIT ${page}`.pipe(
        failure,
        Effect.map((rows) =>
          [rows.map(({ location }) => location), Option.fromUndefinedOr(rows.at(page - 1)?.seq)] as const
        )
      )

    return PayloadReferences.of({
      waiting: (ageMillis) => Stream.paginate(0n, waitingAfter(ageMillis)),
      among: (locations) =>
        sql<{ readonly location: string }>`
          SELECT location FROM unnest(${locations}::text[]) AS location
          WHERE location IN (SELECT headers ->> ${header}::text FROM outbox WHERE headers ? ${header}::text)
            OR location IN (SELECT headers ->> ${header}::text FROM dead_letters WHERE headers ? ${header}::text)`.pipe(
          failure,
          Effect.map((rows) => new Set(rows.map(({ location }) => location)))
        )
    })
  })
)
