import * as PgClient from "@effect/sql-pg/PgClient"
import { DateTime, Effect, Layer, Option, Schema } from "effect"
import type { Statement } from "effect/sql"
import { SqlSchema } from "effect/sql"
import { TaskId } from "../../domain/inference/Task.ts"
import { TaskRepository } from "../../services/TaskRepository.ts"
import { query } from "./PgErrors.ts"
import {
  HistoryRow,
  inputColumns,
  InputsRow,
  progressColumns,
  SummaryRow,
  TaskRow,
  tensorsOf,
  toTaskRecord
} from "./TaskRows.ts"

/** The first half of the advisory locks under which the tasks of a key are counted; the second is the key's hash. */
const countLocks = 0x7461736b

const dateOf = (at: DateTime.Utc | null) => at === null ? null : DateTime.toDateUtc(at)

export const layer = Layer.effect(
  TaskRepository,
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient

    const columns = sql.literal(`id, key_id, model_id, model, version, state, attempt, lost, outputs, error, created_at,
      started_at, ended_at, expires_at`)
    const taskWhere = SqlSchema.findOneOption({
      Request: Schema.Any,
      Result: TaskRow,
      execute: (rest: Statement.Fragment) => sql`SELECT ${columns} FROM tasks ${rest}`
    })
    const taskAt = (rest: Statement.Fragment) =>
      query(taskWhere(rest)).pipe(Effect.map((row) => Option.getOrUndefined(Option.map(row, toTaskRecord))))

    const summaries = SqlSchema.findAll({
      Request: Schema.Any,
      Result: SummaryRow,
      execute: (rest: Statement.Fragment) =>
        sql`SELECT id, model, version, state, error, created_at, started_at, ended_at, expires_at FROM tasks ${rest}`
    })
    const selectInputs = SqlSchema.findOneOption({
      Request: TaskId,
      Result: InputsRow,
      execute: (id) => sql`SELECT inputs, data FROM tasks WHERE id = ${id}::uuid`
    })
    const selectHistory = SqlSchema.findAll({
      Request: Schema.Struct({ id: TaskId, after: Schema.BigInt }),
      Result: HistoryRow,
      execute: ({ id, after }) =>
        sql`SELECT seq, state, error, at FROM task_history WHERE task_id = ${id}::uuid AND seq > ${after}
          ORDER BY seq LIMIT 100`
    })
    const selectOverdue = SqlSchema.findAll({
      Request: Schema.Struct({ at: Schema.Date, limit: Schema.Int }),
      Result: Schema.Struct({ id: TaskId }),
      execute: ({ at, limit }) =>
        sql`SELECT id FROM tasks WHERE ended_at IS NULL AND expires_at <= ${at} ORDER BY expires_at LIMIT ${limit}`
    })

    return TaskRepository.of({
      insert: ({ id, key, modelId, model, version, createdAt, progress }, tensors, limit) =>
        query(sql.withTransaction(Effect.gen(function*() {
          const { data, inputs } = inputColumns(tensors)
          const { expiresAt, state } = progressColumns(progress)
          // Two that add at once count one after the other
          yield* sql`SELECT pg_advisory_xact_lock(${countLocks}, hashtext(${key}))`
          const added = yield* sql`WITH added AS (
              INSERT INTO tasks (id, key_id, model_id, model, version, state, inputs, data, created_at, expires_at)
              SELECT ${id}::uuid, ${key}::uuid, ${modelId}::uuid, ${model}, ${version}, ${state}, ${sql.json(inputs)},
                ${data}::bytea, ${DateTime.toDateUtc(createdAt)}::timestamptz, ${dateOf(expiresAt)}::timestamptz
              WHERE (SELECT count(*) FROM tasks WHERE key_id = ${key}::uuid AND ended_at IS NULL) < ${limit}
              RETURNING id, state, created_at
            ) INSERT INTO task_history (task_id, state, at) SELECT id, state, created_at FROM added RETURNING seq`
          return added.length === 1
        }))),
      find: (id, key) =>
        taskAt(sql`WHERE id = ${id}::uuid ${key === undefined ? sql`` : sql`AND key_id = ${key}::uuid`}`),
      lock: (id) => taskAt(sql`WHERE id = ${id}::uuid FOR UPDATE`),
      inputs: (id) => query(selectInputs(id)).pipe(Effect.map(tensorsOf)),
      update: (id, progress, at) => {
        const { attempt, endedAt, error, expiresAt, lost, outputs, startedAt, state } = progressColumns(progress)
        const errorJson = error === null ? null : sql.json(error)
        return query(sql`WITH moved AS (
            UPDATE tasks SET state = ${state}, started_at = ${dateOf(startedAt)}, ended_at = ${dateOf(endedAt)},
              outputs = ${outputs}, error = ${errorJson}, expires_at = ${dateOf(expiresAt)}
              ${attempt === undefined ? sql`` : sql`, attempt = ${attempt}`}
              ${lost === undefined ? sql`` : sql`, lost = ${lost}`}
              ${endedAt === null ? sql`` : sql`, inputs = NULL, data = NULL`}
            WHERE id = ${id}::uuid RETURNING id, state, error
          ) INSERT INTO task_history (task_id, state, error, at)
            SELECT id, state, error, ${DateTime.toDateUtc(at)}::timestamptz FROM moved`).pipe(Effect.asVoid)
      },
      list: ({ key, state }, { before, limit }) =>
        query(summaries(
          sql`WHERE ${
            sql.and([
              sql`true`,
              ...(key === undefined ? [] : [sql`key_id = ${key}::uuid`]),
              ...(state === undefined ? [] : [sql`state = ${state}`]),
              ...(before === undefined ? [] : [sql`id < ${before}::uuid`])
            ])
          } ORDER BY id DESC LIMIT ${limit}`
        )),
      history: (id, after) => query(selectHistory({ id, after })),
      overdue: (at, limit) =>
        query(selectOverdue({ at: DateTime.toDateUtc(at), limit })).pipe(
          Effect.map((rows) => rows.map(({ id }) => id))
        ),
      forget: (at, limit) =>
        query(sql`DELETE FROM tasks WHERE id IN (
            SELECT id FROM tasks WHERE ended_at IS NOT NULL AND expires_at <= ${DateTime.toDateUtc(at)}
            ORDER BY expires_at LIMIT ${limit} FOR UPDATE SKIP LOCKED
          ) RETURNING id`).pipe(Effect.map((rows) => rows.length))
    })
  })
)
