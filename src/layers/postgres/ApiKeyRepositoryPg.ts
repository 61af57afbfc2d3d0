import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, DateTime, Effect, Layer, Option, Schema } from "effect"
import { SqlSchema } from "effect/sql"
import { ApiKey, ApiKeyId, ApiKeyName, Scope } from "../../domain/access/ApiKey.ts"
import { PlanName } from "../../domain/access/RateLimit.ts"
import { ApiKeyLookup } from "../../services/ApiKeyLookup.ts"
import type { ApiKeyRecord } from "../../services/ApiKeyRepository.ts"
import { ApiKeyRepository } from "../../services/ApiKeyRepository.ts"
import { Bytes } from "./Bytes.ts"
import { query } from "./PgErrors.ts"

const Row = Schema.Struct({
  id: ApiKeyId,
  name: ApiKeyName,
  digest: Bytes,
  scopes: Schema.Array(Scope),
  plan: Schema.NullOr(PlanName),
  createdAt: Schema.DateTimeUtcFromDate,
  expiresAt: Schema.NullOr(Schema.DateTimeUtcFromDate),
  revokedAt: Schema.NullOr(Schema.DateTimeUtcFromDate)
})

const toRecord = ({ digest, ...key }: typeof Row.Type): ApiKeyRecord => ({ key: new ApiKey(key), digest })

export const layer = Layer.effectContext(
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient

    const insert = ({ key, digest }: ApiKeyRecord) =>
      sql`INSERT INTO api_keys (id, name, digest, scopes, plan, created_at, expires_at) VALUES (
        ${key.id}::uuid, ${key.name}, ${digest}, ${key.scopes}::text[], ${key.plan}, ${
        DateTime.toDateUtc(key.createdAt)
      },
        ${key.expiresAt === null ? null : DateTime.toDateUtc(key.expiresAt)})`
    const byDigest = SqlSchema.findOneOption({
      Request: Bytes,
      Result: Row,
      execute: (digest) => sql`SELECT * FROM api_keys WHERE digest = ${digest}`
    })
    const byId = SqlSchema.findOneOption({
      Request: ApiKeyId,
      Result: Row,
      execute: (id) => sql`SELECT * FROM api_keys WHERE id = ${id}::uuid`
    })
    const page = SqlSchema.findAll({
      Request: Schema.Struct({ before: Schema.UndefinedOr(ApiKeyId), limit: Schema.Int }),
      Result: Row,
      execute: ({ before, limit }) =>
        sql`SELECT * FROM api_keys ${before === undefined ? sql`` : sql`WHERE id < ${before}::uuid`}
          ORDER BY id DESC LIMIT ${limit}`
    })

    const lookup = ApiKeyLookup.of({
      findByDigest: (digest) =>
        query(byDigest(digest)).pipe(Effect.map((row) => Option.getOrUndefined(Option.map(row, toRecord))))
    })
    const repository = ApiKeyRepository.of({
      insert: (record) => query(insert(record)).pipe(Effect.asVoid),
      insertIfAbsent: (record) => query(sql`${insert(record)} ON CONFLICT (digest) DO NOTHING`).pipe(Effect.asVoid),
      find: (id) =>
        query(byId(id)).pipe(
          Effect.map((row) => Option.getOrUndefined(Option.map(row, (found) => toRecord(found).key)))
        ),
      list: (request) => query(page(request)).pipe(Effect.map((rows) => rows.map((row) => toRecord(row).key))),
      revoke: (id, at) =>
        query(sql`UPDATE api_keys SET revoked_at = coalesce(revoked_at, ${DateTime.toDateUtc(at)})
          WHERE id = ${id}::uuid RETURNING id`).pipe(Effect.map((rows) => rows.length > 0))
    })
    return Context.make(ApiKeyRepository, repository).pipe(Context.add(ApiKeyLookup, lookup))
  })
)
