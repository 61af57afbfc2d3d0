import * as PgClient from "@effect/sql-pg/PgClient"
import { DateTime, Effect, Layer, Option, Redacted, Schema } from "effect"
import type { Statement } from "effect/sql"
import { SqlSchema } from "effect/sql"
import { TaskId } from "../../domain/inference/Task.ts"
import { DeliveryId, DeliveryState, Webhook, WebhookEventType, WebhookId } from "../../domain/webhook/Webhook.ts"
import type { WebhookSecret } from "../../services/WebhookRepository.ts"
import { WebhookRepository } from "../../services/WebhookRepository.ts"
import { Bytes } from "./Bytes.ts"
import { query } from "./PgErrors.ts"

/** The first half of the advisory locks under which the webhooks of a key are counted; the second is the key's hash. */
const countLocks = 0x77686b73

const WebhookRow = Schema.Struct({
  id: WebhookId,
  url: Schema.String,
  events: Schema.Array(WebhookEventType),
  createdAt: Schema.DateTimeUtcFromDate
})
const DeliveryRow = Schema.Struct({
  id: DeliveryId,
  webhook: WebhookId,
  type: WebhookEventType,
  task: TaskId,
  state: DeliveryState,
  attempts: Schema.Int,
  createdAt: Schema.DateTimeUtcFromDate,
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromDate)
})
const AttemptRow = Schema.Struct({
  at: Schema.DateTimeUtcFromDate,
  status: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(Schema.String),
  milliseconds: Schema.Int
})
const DueRow = Schema.Struct({
  id: DeliveryId,
  url: Schema.String,
  body: Schema.String,
  attempts: Schema.Int,
  secret: Bytes,
  previousSecret: Schema.NullOr(Bytes)
})

const secretOf = (bytes: Uint8Array): WebhookSecret => Redacted.make(bytes, { label: "webhook secret" })

export const layer = Layer.effect(
  WebhookRepository,
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient

    const webhooksWhere = SqlSchema.findAll({
      Request: Schema.Any,
      Result: WebhookRow,
      execute: (rest: Statement.Fragment) => sql`SELECT id, url, events, created_at FROM webhooks ${rest}`
    })
    const selectWebhooks = (rest: Statement.Fragment) =>
      query(webhooksWhere(rest)).pipe(Effect.map((rows) => rows.map((row) => new Webhook(row))))
    const isOf = (key: string | undefined) => key === undefined ? sql`` : sql`AND key_id = ${key}::uuid`

    const deliveriesWhere = SqlSchema.findAll({
      Request: Schema.Any,
      Result: DeliveryRow,
      execute: (rest: Statement.Fragment) =>
        sql`SELECT id, webhook_id AS webhook, type, task_id AS task, state, attempts, created_at, ended_at
          FROM webhook_deliveries ${rest}`
    })
    const selectAttempts = SqlSchema.findAll({
      Request: DeliveryId,
      Result: AttemptRow,
      execute: (id) =>
        sql`SELECT at, status, error, milliseconds FROM (
            SELECT * FROM webhook_attempts WHERE delivery_id = ${id}::uuid ORDER BY seq DESC LIMIT 100
          ) AS latest ORDER BY seq`
    })
    const selectDue = SqlSchema.findOneOption({
      Request: Schema.Struct({ id: DeliveryId, round: Schema.Int, at: Schema.Date }),
      Result: DueRow,
      execute: ({ at, id, round }) =>
        sql`SELECT d.id, w.url, d.body, d.attempts, w.secret,
            CASE WHEN w.previous_until > ${at} THEN w.previous_secret END AS previous_secret
          FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
          WHERE d.id = ${id}::uuid AND d.round = ${round} AND d.state = 'pending'`
    })
    const selectReceiver = SqlSchema.findOneOption({
      Request: Schema.Struct({ id: DeliveryId, round: Schema.Int }),
      Result: Schema.Struct({ url: Schema.String }),
      execute: ({ id, round }) =>
        sql`SELECT w.url FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id
          WHERE d.id = ${id}::uuid AND d.round = ${round} AND d.state = 'pending'`
    })
    const nextRound = SqlSchema.findAll({
      Request: DeliveryId,
      Result: Schema.Struct({ round: Schema.Int }),
      execute: (id) =>
        sql`UPDATE webhook_deliveries SET round = round + 1, attempts = 0, state = 'pending', ended_at = NULL
          WHERE id = ${id}::uuid RETURNING round`
    })

    return WebhookRepository.of({
      insert: ({ id, url, events, createdAt }, { key, secret }, limit) =>
        query(sql.withTransaction(Effect.gen(function*() {
          // Two that add at once count one after the other
          yield* sql`SELECT pg_advisory_xact_lock(${countLocks}, hashtext(${key}))`
          const added = yield* sql`INSERT INTO webhooks (id, key_id, url, events, secret, created_at)
            SELECT ${id}::uuid, ${key}::uuid, ${url}, ${events}::text[], ${Redacted.value(secret)}::bytea,
              ${DateTime.toDateUtc(createdAt)}::timestamptz
            WHERE (SELECT count(*) FROM webhooks WHERE key_id = ${key}::uuid) < ${limit} RETURNING id`
          return added.length === 1
        }))),
      find: (id, key) => Effect.map(selectWebhooks(sql`WHERE id = ${id}::uuid ${isOf(key)}`), ([webhook]) => webhook),
      list: (key, { before, limit }) =>
        selectWebhooks(sql`WHERE true ${isOf(key)} ${before === undefined ? sql`` : sql`AND id < ${before}::uuid`}
          ORDER BY id DESC LIMIT ${limit}`),
      remove: (id) => query(sql`DELETE FROM webhooks WHERE id = ${id}::uuid`).pipe(Effect.asVoid),
      replaceSecret: (id, secret, until) =>
        query(sql`UPDATE webhooks SET previous_secret = secret, previous_until = ${DateTime.toDateUtc(until)},
          secret = ${Redacted.value(secret)} WHERE id = ${id}::uuid`).pipe(Effect.asVoid),
      subscribed: (key, type) =>
        Effect.map(
          selectWebhooks(sql`WHERE key_id = ${key}::uuid AND ${type} = ANY (events)`),
          (webhooks) => webhooks.map(({ id }) => id)
        ),

      addDeliveries: (deliveries, body) =>
        query(Effect.forEach(deliveries, ({ id, webhook, type, task, createdAt }) =>
          // A webhook that was deleted meanwhile is told nothing
          sql`INSERT INTO webhook_deliveries (id, webhook_id, type, task_id, body, state, created_at)
            SELECT ${id}::uuid, id, ${type}, ${task}::uuid, ${body}, 'pending',
              ${DateTime.toDateUtc(createdAt)}::timestamptz
            FROM webhooks WHERE id = ${webhook}::uuid FOR KEY SHARE`, { discard: true })),
      findDelivery: (webhook, id) =>
        query(deliveriesWhere(sql`WHERE id = ${id}::uuid AND webhook_id = ${webhook}::uuid`)).pipe(
          Effect.map(([delivery]) => delivery)
        ),
      listDeliveries: (webhook, state, { before, limit }) =>
        query(deliveriesWhere(sql`WHERE webhook_id = ${webhook}::uuid
          ${state === undefined ? sql`` : sql`AND state = ${state}`}
          ${before === undefined ? sql`` : sql`AND id < ${before}::uuid`} ORDER BY id DESC LIMIT ${limit}`)),
      attempts: (id) => query(selectAttempts(id)),
      receiver: (id, round) =>
        query(selectReceiver({ id, round })).pipe(Effect.map((row) => Option.getOrUndefined(row)?.url)),
      due: (id, round, at) =>
        query(selectDue({ id, round, at: DateTime.toDateUtc(at) })).pipe(
          Effect.map((row) => {
            const due = Option.getOrUndefined(row)
            if (due === undefined) return undefined
            const { previousSecret, secret, ...rest } = due
            return {
              ...rest,
              secrets: [secretOf(secret), ...(previousSecret === null ? [] : [secretOf(previousSecret)])]
            }
          })
        ),
      noteAttempt: (id, round, { at, error, milliseconds, status }, state) =>
        query(sql.withTransaction(Effect.andThen(
          sql`INSERT INTO webhook_attempts (delivery_id, at, status, error, milliseconds)
            SELECT id, ${DateTime.toDateUtc(at)}::timestamptz, ${status}, ${error}, ${milliseconds}
            FROM webhook_deliveries WHERE id = ${id}::uuid`,
          sql`UPDATE webhook_deliveries SET attempts = attempts + 1, state = ${state},
              ended_at = CASE WHEN ${state} <> 'pending' THEN ${DateTime.toDateUtc(at)}::timestamptz END
            WHERE id = ${id}::uuid AND round = ${round} AND state = 'pending'`
        ))).pipe(Effect.asVoid),
      askAgain: (id) =>
        // One that was removed meanwhile has no round that anybody waits for
        query(nextRound(id)).pipe(Effect.map(([row]) => row?.round ?? 0)),
      forget: (at) =>
        query(sql`DELETE FROM webhook_deliveries WHERE created_at < ${DateTime.toDateUtc(at)}`).pipe(Effect.asVoid)
    })
  })
)
