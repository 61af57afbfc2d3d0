import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Exit, Layer, Option, Schema } from "effect"
import { SqlSchema } from "effect/sql"
import { IdempotencyKeyInUse, IdempotencyKeyReused } from "../../domain/access/Idempotency.ts"
import { Idempotency } from "../../services/Idempotency.ts"
import { Bytes } from "./Bytes.ts"
import { query, unavailableOrDie } from "./PgErrors.ts"

/** How long an answer is kept, and how long a request may be under way before its process is taken for dead. */
const keptFor = "24 hours"
const leaseSeconds = 120

const Row = Schema.Struct({
  fingerprint: Schema.String,
  isLeased: Schema.Boolean,
  status: Schema.NullOr(Schema.Int),
  headers: Schema.NullOr(Schema.Record(Schema.String, Schema.String)),
  body: Schema.NullOr(Bytes)
})

export const layer = Layer.effect(
  Idempotency,
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const leaseUntil = sql.literal(`now() + interval '${leaseSeconds} seconds'`)

    const select = SqlSchema.findOneOption({
      Request: Schema.Struct({ caller: Schema.String, key: Schema.String }),
      Result: Row,
      execute: ({ caller, key }) =>
        sql`SELECT fingerprint, lease_until > now() AS is_leased, status, headers, body FROM idempotency_keys
          WHERE key_id = ${caller}::uuid AND idempotency_key = ${key}`
    })

    /** True for the one who may run the request: nobody did before, or whoever did is gone without an answer. */
    const claim = ({ caller, key, fingerprint }: Parameters<Idempotency["Service"]["run"]>[0]) =>
      query(sql`INSERT INTO idempotency_keys (key_id, idempotency_key, fingerprint, lease_until)
        VALUES (${caller}::uuid, ${key}, ${fingerprint}, ${leaseUntil})
        ON CONFLICT (key_id, idempotency_key) DO UPDATE SET lease_until = excluded.lease_until
          WHERE idempotency_keys.status IS NULL AND idempotency_keys.lease_until <= now()
            AND idempotency_keys.fingerprint = excluded.fingerprint
        RETURNING key_id`).pipe(Effect.map((rows) => rows.length === 1))

    const run: Idempotency["Service"]["run"] = (wish, request) =>
      Effect.gen(function*() {
        const isHere = sql`key_id = ${wish.caller}::uuid AND idempotency_key = ${wish.key}`
        if (yield* claim(wish)) {
          return yield* unavailableOrDie(sql.withTransaction(Effect.tap(request, ({ status, headers, body }) =>
            sql`UPDATE idempotency_keys SET status = ${status}, headers = ${sql.json(headers)}, body = ${body}
              WHERE ${isHere}`))).pipe(
              Effect.onExit((exit) =>
                Exit.isSuccess(exit)
                  ? Effect.void
                  : query(sql`DELETE FROM idempotency_keys WHERE ${isHere} AND status IS NULL`).pipe(Effect.ignore)
              )
            )
        }
        const kept = Option.getOrUndefined(yield* query(select(wish)))
        if (kept !== undefined && kept.fingerprint !== wish.fingerprint) {
          return yield* new IdempotencyKeyReused()
        }
        if (kept === undefined || kept.status === null || kept.headers === null || kept.body === null) {
          return yield* new IdempotencyKeyInUse({ retryAfterSeconds: 1 })
        }
        return { status: kept.status, headers: kept.headers, body: kept.body }
      })

    return Idempotency.of({
      run,
      expire: query(sql`DELETE FROM idempotency_keys WHERE created_at < now() - ${keptFor}::interval`).pipe(
        Effect.asVoid
      )
    })
  })
)
