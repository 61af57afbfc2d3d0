import * as PgClient from "@effect/sql-pg/PgClient"
import { Cause, Effect, Exit, Layer, Option, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlSchema } from "effect/sql"
import { IdempotencyKeyInUse, IdempotencyKeyReused } from "../../domain/access/Idempotency.ts"
import type { KeptAnswer } from "../../services/Idempotency.ts"
import { Idempotency } from "../../services/Idempotency.ts"
import { Bytes } from "./Bytes.ts"
import { query, unavailableOrDie } from "./PgErrors.ts"

/** How long an answer is kept, and how long a request may be under way before its process is taken for dead. */
const keptFor = "24 hours"
const leaseSeconds = 120

type Wish = Parameters<Idempotency["Service"]["run"]>[0]

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
    const random = yield* SecureRandom.SecureRandom
    const leaseUntil = sql.literal(`now() + interval '${leaseSeconds} seconds'`)

    const select = SqlSchema.findOneOption({
      Request: Schema.Struct({ caller: Schema.String, key: Schema.String }),
      Result: Row,
      execute: ({ caller, key }) =>
        sql`SELECT fingerprint, lease_until > now() AS is_leased, status, headers, body FROM idempotency_keys
          WHERE key_id = ${caller}::uuid AND idempotency_key = ${key}`
    })

    const claiming = SqlSchema.findOneOption({
      Request: Schema.Struct({
        caller: Schema.String,
        key: Schema.String,
        fingerprint: Schema.String,
        operation: Schema.String
      }),
      Result: Schema.Struct({ operation: Schema.String }),
      execute: ({ caller, key, fingerprint, operation }) =>
        sql`INSERT INTO idempotency_keys (key_id, idempotency_key, fingerprint, lease_until, operation)
          VALUES (${caller}::uuid, ${key}, ${fingerprint}, ${leaseUntil}, ${operation}::uuid)
          ON CONFLICT (key_id, idempotency_key) DO UPDATE SET lease_until = excluded.lease_until,
              operation = coalesce(idempotency_keys.operation, excluded.operation)
            WHERE idempotency_keys.status IS NULL AND idempotency_keys.lease_until <= now()
              AND idempotency_keys.fingerprint = excluded.fingerprint
          RETURNING operation`
    })

    /** The operation, for the one who may run the request: nobody did before, or whoever did is gone without an answer. */
    const claim = Effect.fnUntraced(function*(wish: Wish) {
      const operation = yield* random.uuidV7()
      return Option.getOrUndefined(yield* query(claiming({ ...wish, operation })))?.operation
    })

    /** The answer that was given, to who may not run the request. */
    const kept = Effect.fnUntraced(function*(wish: Wish) {
      const row = Option.getOrUndefined(yield* query(select(wish)))
      if (row !== undefined && row.fingerprint !== wish.fingerprint) return yield* new IdempotencyKeyReused()
      if (row === undefined || row.status === null || row.headers === null || row.body === null) {
        return yield* new IdempotencyKeyInUse({ retryAfterSeconds: 1 })
      }
      return { status: row.status, headers: row.headers, body: row.body }
    })

    const isHere = ({ caller, key }: Wish) => sql`key_id = ${caller}::uuid AND idempotency_key = ${key}`
    const keep = (wish: Wish, { status, headers, body }: KeptAnswer) =>
      sql`UPDATE idempotency_keys SET status = ${status}, headers = ${sql.json(headers)}, body = ${body}
        WHERE ${isHere(wish)}`
    const giveUp = (wish: Wish) =>
      Effect.ignore(query(sql`DELETE FROM idempotency_keys WHERE ${isHere(wish)} AND status IS NULL`))
    const leave = (wish: Wish) =>
      Effect.ignore(
        query(sql`UPDATE idempotency_keys SET lease_until = now() WHERE ${isHere(wish)} AND status IS NULL`)
      )

    const run: Idempotency["Service"]["run"] = Effect.fnUntraced(function*(wish, request) {
      if ((yield* claim(wish)) === undefined) return yield* kept(wish)
      return yield* unavailableOrDie(sql.withTransaction(Effect.tap(request, (answer) => keep(wish, answer)))).pipe(
        Effect.onExit((exit) => Exit.isSuccess(exit) ? Effect.void : giveUp(wish))
      )
    })

    const track: Idempotency["Service"]["track"] = Effect.fnUntraced(function*(wish, request, isUnderWay) {
      const operation = yield* claim(wish)
      if (operation === undefined) return yield* kept(wish)
      const answer = yield* request(operation).pipe(
        Effect.onExit((exit) => {
          if (Exit.isSuccess(exit)) return Effect.void
          const error = Cause.findErrorOption(exit.cause)
          return Option.isSome(error) && !isUnderWay(error.value) ? giveUp(wish) : leave(wish)
        })
      )
      // Who asks again after this has failed joins the operation, and finds it done.
      yield* Effect.onError(query(keep(wish, answer)), () => leave(wish))
      return answer
    })

    return Idempotency.of({
      run,
      track,
      expire: query(sql`DELETE FROM idempotency_keys WHERE created_at < now() - ${keptFor}::interval`).pipe(
        Effect.asVoid
      )
    })
  })
)
