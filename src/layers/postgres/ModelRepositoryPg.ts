import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, DateTime, Effect, Layer, Option, Schema } from "effect"
import type { Statement } from "effect/sql"
import { SqlSchema } from "effect/sql"
import { Sha256 } from "../../domain/model/Artifact.ts"
import { ModelNameTaken } from "../../domain/model/ModelErrors.ts"
import { VersionFailure, VersionNumber, VersionStatus } from "../../domain/model/Version.ts"
import * as Coalescer from "../../resilience/Coalescer.ts"
import { ModelRepository } from "../../services/ModelRepository.ts"
import { ModelRow, stateColumns, toModelRecord, toVersionRecord, VersionRow } from "./ModelRows.ts"
import { query, unavailableOrDie } from "./PgErrors.ts"

const isUuid = Schema.is(Schema.String.check(Schema.isUUID()))

/** What `LIKE` takes for the text itself; its escape character is the backslash. */
const containing = (text: string) => `%${text.replaceAll(/[\\%_]/g, (special) => `\\${special}`)}%`

const artifactJson = (table: string) =>
  `CASE WHEN ${table}.sha256 IS NOT NULL THEN
     jsonb_build_object('sha256', ${table}.sha256, 'size', ${table}.size, 'format', ${table}.format) END`

/** Of the statements that find models for all who ask at the same moment: how many run at once, for how many models each. */
const statementsAtOnce = 2
const refsAtOnce = 100

/** The first half of the advisory locks of owners; the second is the owner's hash. */
const ownerLocks = 0x6f776e

const HistoryRow = Schema.Struct({
  seq: Schema.BigInt,
  status: VersionStatus,
  failure: Schema.NullOr(VersionFailure),
  at: Schema.DateTimeUtcFromDate
})

export const layer = Layer.effect(
  ModelRepository,
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient

    const modelColumns = sql.literal(`
      m.id, m.name, m.description, m.tags, m.owner, m.latest_version, m.revision, m.created_at, m.updated_at,
      coalesce((SELECT jsonb_object_agg(a.alias, a.version) FROM aliases a WHERE a.model_id = m.id), '{}') AS aliases`)
    const versionColumns = sql.literal(`
      v.model_id, m.name AS model, v.version, v.status, ${artifactJson("a")} AS artifact,
      ${artifactJson("o")} AS optimized, v.signature, v.failure, v.created_at, v.updated_at`)
    const versionTables = sql.literal(`
      versions v JOIN models m ON m.id = v.model_id AND m.state = 'active'
        LEFT JOIN artifacts a ON a.sha256 = v.artifact
        LEFT JOIN artifacts o ON o.sha256 = v.optimized`)
    const isModel = (ref: string) => isUuid(ref) ? sql`m.id = ${ref}::uuid` : sql`m.name = ${ref}`
    const touch = (id: string, at: DateTime.Utc) =>
      sql`UPDATE models SET revision = revision + 1, updated_at = ${DateTime.toDateUtc(at)} WHERE id = ${id}::uuid`

    const selectModel = SqlSchema.findOneOption({
      Request: Schema.Struct({ ref: Schema.String, lock: Schema.Boolean }),
      Result: ModelRow,
      execute: ({ ref, lock }) =>
        sql`SELECT ${modelColumns} FROM models m WHERE ${isModel(ref)} AND m.state = 'active' ${
          lock ? sql`FOR UPDATE OF m` : sql``
        }`
    })
    const findOne = (lock: boolean) => (ref: string) =>
      query(selectModel({ ref, lock })).pipe(Effect.map((row) => Option.getOrUndefined(Option.map(row, toModelRecord))))

    const selectByRefs = SqlSchema.findAll({
      Request: Schema.Struct({ names: Schema.Array(Schema.String), ids: Schema.Array(Schema.String) }),
      Result: ModelRow,
      execute: ({ names, ids }) =>
        sql`SELECT ${modelColumns} FROM models m WHERE ${
          sql.or([
            ...(names.length === 0 ? [] : [sql`m.name = ANY (${names}::text[])`]),
            ...(ids.length === 0 ? [] : [sql`m.id = ANY (${ids}::uuid[])`])
          ])
        } AND m.state = 'active'`
    })
    /** The models of those who ask at the same moment, by one statement. */
    const together = yield* Coalescer.make({
      atOnce: statementsAtOnce,
      most: refsAtOnce,
      key: (ref: string) => ref,
      run: (refs) => {
        const names = refs.filter((ref) => !isUuid(ref))
        const ids = refs.filter(isUuid)
        return Effect.map(query(selectByRefs({ names, ids })), (rows) => {
          const records = rows.map(toModelRecord)
          const byName = new Map(records.map((record) => [String(record.model.name), record]))
          const byId = new Map(records.map((record) => [String(record.model.id), record]))
          return (ref: string) => isUuid(ref) ? byId.get(ref.toLowerCase()) : byName.get(ref)
        })
      }
    })
    const alone = findOne(false)
    /** In a transaction, that one's own view; and a trace that is recorded has the statement of its own request. */
    const find: ModelRepository["Service"]["find"] = (ref) =>
      Effect.withFiber((fiber) =>
        fiber.cache.span?.sampled === true || Option.isSome(Context.getOption(fiber.context, sql.transactionService))
          ? alone(ref)
          : together(ref)
      )

    const selectModels = SqlSchema.findAll({
      Request: Schema.Struct({
        text: Schema.UndefinedOr(Schema.String),
        tag: Schema.UndefinedOr(Schema.String),
        before: Schema.UndefinedOr(Schema.String),
        limit: Schema.Int
      }),
      Result: ModelRow,
      execute: ({ text, tag, before, limit }) =>
        sql`SELECT ${modelColumns} FROM models m WHERE ${
          sql.and([
            sql`m.state = 'active'`,
            ...(text === undefined
              ? []
              : [sql`(m.name ILIKE ${containing(text)} OR m.description ILIKE ${containing(text)})`]),
            ...(tag === undefined ? [] : [sql`m.tags @> ARRAY[${tag}]::text[]`]),
            ...(before === undefined ? [] : [sql`m.id < ${before}::uuid`])
          ])
        } ORDER BY m.id DESC LIMIT ${limit}`
    })

    const selectRecorded = SqlSchema.findOneOption({
      Request: Schema.String,
      Result: Schema.Struct({ owner: Schema.String, state: Schema.Literals(["recorded", "allocated"]) }),
      execute: (id) =>
        sql`SELECT owner, state FROM models WHERE id = ${id}::uuid AND state IN ('recorded', 'allocated') FOR UPDATE`
    })
    const selectUsage = SqlSchema.findOne({
      Request: Schema.String,
      Result: Schema.Struct({ models: Schema.Int, bytes: Schema.Finite }),
      execute: (owner) =>
        sql`SELECT
            (SELECT count(*) FROM models WHERE owner = ${owner} AND state IN ('allocated', 'active'))::int AS models,
            ((SELECT coalesce(sum(a.size), 0) FROM models m JOIN versions v ON v.model_id = m.id
                JOIN artifacts a ON a.sha256 = v.artifact WHERE m.owner = ${owner})
              + (SELECT coalesce(sum(reserved_bytes), 0) FROM models WHERE owner = ${owner}))::float8 AS bytes`
    })
    /** What the owner has; nobody else finds out until the transaction ends, so that all count what all others took. */
    const usageOf = (owner: string) =>
      query(Effect.andThen(
        sql`SELECT pg_advisory_xact_lock(${ownerLocks}, hashtext(${owner}))`,
        // A statement of its own: it sees what was committed before the lock was given.
        Effect.catchTag(selectUsage(owner), "NoSuchElementError", Effect.die)
      ))

    const versionsWhere = SqlSchema.findAll({
      Request: Schema.Any,
      Result: VersionRow,
      execute: (rest: Statement.Fragment) => sql`SELECT ${versionColumns} FROM ${versionTables} ${rest}`
    })
    const selectVersions = (rest: Statement.Fragment) =>
      query(versionsWhere(rest)).pipe(Effect.map((rows) => rows.map(toVersionRecord)))

    const nextVersion = SqlSchema.findOne({
      Request: Schema.Struct({ id: Schema.String, at: Schema.Date }),
      Result: Schema.Struct({ version: VersionNumber }),
      execute: ({ id, at }) =>
        sql`WITH next AS (
          UPDATE models SET latest_version = latest_version + 1, revision = revision + 1, updated_at = ${at}
          WHERE id = ${id}::uuid RETURNING id, latest_version
        ), added AS (
          INSERT INTO versions (model_id, version, status, created_at, updated_at)
          SELECT id, latest_version, 'awaiting_upload', ${at}, ${at} FROM next RETURNING model_id, version
        ), noted AS (
          INSERT INTO version_history (model_id, version, status, at)
          SELECT model_id, version, 'awaiting_upload', ${at} FROM added
        ) SELECT version FROM added`
    })

    const selectHistory = SqlSchema.findAll({
      Request: Schema.Struct({ modelId: Schema.String, version: VersionNumber, after: Schema.BigInt }),
      Result: HistoryRow,
      execute: ({ modelId, version, after }) =>
        sql`SELECT seq, status, failure, at FROM version_history
          WHERE model_id = ${modelId}::uuid AND version = ${version} AND seq > ${after} ORDER BY seq LIMIT 100`
    })

    const selectArtifacts = SqlSchema.findAll({
      Request: Schema.String,
      Result: Schema.Struct({ artifact: Schema.NullOr(Sha256), optimized: Schema.NullOr(Sha256) }),
      // Held, so that no stage of the pipeline adds one meanwhile.
      execute: (id) => sql`SELECT artifact, optimized FROM versions WHERE model_id = ${id}::uuid FOR UPDATE`
    })
    const selectUnused = SqlSchema.findAll({
      Request: Schema.Struct({ graceSeconds: Schema.Finite, only: Schema.UndefinedOr(Schema.Array(Sha256)) }),
      Result: Schema.Struct({ sha256: Sha256 }),
      execute: ({ graceSeconds, only }) =>
        sql`SELECT a.sha256 FROM artifacts a
          WHERE a.used_at <= now() - make_interval(secs => ${graceSeconds})
            AND NOT EXISTS (SELECT FROM versions v WHERE v.artifact = a.sha256 OR v.optimized = a.sha256)
            ${
          only === undefined
            ? sql`LIMIT 100 FOR UPDATE OF a SKIP LOCKED`
            // In one order for everybody, so that two never wait for each other.
            : sql`AND a.sha256 = ANY (${only}::text[]) ORDER BY a.sha256 FOR UPDATE OF a`
        }`
    })
    const selectStillUnused = SqlSchema.findAll({
      Request: Schema.Array(Sha256),
      Result: Schema.Struct({ sha256: Sha256 }),
      execute: (held) =>
        sql`SELECT held.sha256 FROM unnest(${held}::text[]) AS held (sha256)
          WHERE NOT EXISTS (SELECT FROM versions v WHERE v.artifact = held.sha256 OR v.optimized = held.sha256)`
    })
    const countArtifact = SqlSchema.findOneOption({
      Request: Sha256,
      Result: Schema.Struct({ sha256: Sha256 }),
      execute: (sha256) => sql`SELECT sha256 FROM artifacts WHERE sha256 = ${sha256}`
    })

    return ModelRepository.of({
      record: ({ id, name, description, tags, owner, createdAt }) => {
        const at = DateTime.toDateUtc(createdAt)
        return sql`INSERT INTO models (id, name, description, tags, owner, latest_version, state, created_at, updated_at)
            VALUES (${id}::uuid, ${name}, ${description}, ${tags}::text[], ${owner}, 1, 'recorded', ${at}, ${at})`.pipe(
          Effect.catchReason("SqlError", "UniqueViolation", () => Effect.fail(new ModelNameTaken({ name }))),
          unavailableOrDie,
          Effect.asVoid
        )
      },
      reserve: (id, bytes, limits) =>
        unavailableOrDie(sql.withTransaction(Effect.gen(function*() {
          const recorded = Option.getOrUndefined(yield* query(selectRecorded(id)))
          if (recorded === undefined) return "gone"
          if (recorded.state === "allocated") return "reserved"
          const used = yield* usageOf(recorded.owner)
          if (used.models >= limits.models) return "models"
          if (used.bytes + bytes > limits.bytes) return "bytes"
          yield* sql`UPDATE models SET state = 'allocated', reserved_bytes = ${bytes} WHERE id = ${id}::uuid`
          return "reserved"
        }))),
      register: (id, at) =>
        query(sql`WITH registered AS (
            UPDATE models SET state = 'active', reserved_bytes = 0
            WHERE id = ${id}::uuid AND state = 'allocated' RETURNING id
          ), added AS (
            INSERT INTO versions (model_id, version, status, created_at, updated_at)
            SELECT id, 1, 'awaiting_upload', ${DateTime.toDateUtc(at)}, ${DateTime.toDateUtc(at)} FROM registered
            RETURNING model_id, version, created_at
          ) INSERT INTO version_history (model_id, version, status, at)
            SELECT model_id, version, 'awaiting_upload', created_at FROM added RETURNING seq`).pipe(
          Effect.map((rows) => rows.length === 1)
        ),
      discard: (id) =>
        query(sql`DELETE FROM models WHERE id = ${id}::uuid AND state IN ('recorded', 'allocated')`).pipe(
          Effect.asVoid
        ),
      hasRoomFor: (owner, bytes, limits) => Effect.map(usageOf(owner), (used) => used.bytes + bytes <= limits.bytes),
      find,
      knows: (id) =>
        query(sql`SELECT FROM models WHERE id = ${id}::uuid`).pipe(Effect.map((rows) => rows.length === 1)),
      lock: findOne(true),
      list: (filter) =>
        query(selectModels(filter)).pipe(Effect.map((rows) => rows.map((row) => toModelRecord(row).model))),
      update: (id, { description, tags }, at) =>
        query(sql`UPDATE models SET description = ${description}, tags = ${tags}::text[], revision = revision + 1,
          updated_at = ${DateTime.toDateUtc(at)} WHERE id = ${id}::uuid`).pipe(Effect.asVoid),
      retire: (id, at) =>
        unavailableOrDie(sql.withTransaction(Effect.gen(function*() {
          const artifacts = yield* query(selectArtifacts(id))
          yield* sql`UPDATE models SET state = 'retired', revision = revision + 1, updated_at = ${
            DateTime.toDateUtc(at)
          }
            WHERE id = ${id}::uuid`
          yield* sql`DELETE FROM aliases WHERE model_id = ${id}::uuid`
          yield* sql`UPDATE versions SET status = 'retired', artifact = NULL, optimized = NULL, signature = NULL,
            failure = NULL, updated_at = ${DateTime.toDateUtc(at)} WHERE model_id = ${id}::uuid AND status <> 'retired'`
          return [
            ...new Set(artifacts.flatMap(({ artifact, optimized }) => [artifact ?? [], optimized ?? []].flat()))
          ]
        }))),
      forget: (id) => query(sql`DELETE FROM models WHERE id = ${id}::uuid AND state = 'retired'`).pipe(Effect.asVoid),

      addVersion: (id, at) =>
        nextVersion({ id, at: DateTime.toDateUtc(at) }).pipe(
          Effect.catchTag("NoSuchElementError", Effect.die),
          query,
          Effect.map(({ version }) => version)
        ),
      findVersion: (ref, version) =>
        selectVersions(sql`WHERE ${isModel(ref)} AND v.version = ${version}`).pipe(Effect.map(([record]) => record)),
      listVersions: (id, { before, limit }) =>
        selectVersions(sql`WHERE v.model_id = ${id}::uuid AND v.status <> 'retired'
          ${before === undefined ? sql`` : sql`AND v.version < ${before}`} ORDER BY v.version DESC LIMIT ${limit}`),
      latestReady: (ref) =>
        selectVersions(sql`WHERE ${isModel(ref)} AND v.status = 'ready' ORDER BY v.version DESC LIMIT 1`).pipe(
          Effect.map(([record]) => record)
        ),
      listReady: (limit) => selectVersions(sql`WHERE v.status = 'ready' ORDER BY m.name, v.version LIMIT ${limit}`),
      advance: ({ modelId, version }, from, to, at) => {
        const { artifact, optimized, signature, failure } = stateColumns(to)
        return query(sql`WITH advanced AS (
            UPDATE versions SET status = ${to.status}, artifact = ${artifact}, optimized = ${optimized},
              signature = ${signature === null ? null : sql.json(signature)},
              failure = ${failure === null ? null : sql.json(failure)},
              updated_at = ${DateTime.toDateUtc(at)}
            WHERE model_id = ${modelId}::uuid AND version = ${version} AND status = ${from}
            RETURNING model_id, version, status, failure
          ) INSERT INTO version_history (model_id, version, status, failure, at)
            SELECT model_id, version, status, failure, ${DateTime.toDateUtc(at)} FROM advanced RETURNING seq`).pipe(
          Effect.map((rows) => rows.length === 1)
        )
      },
      history: ({ modelId, version }, after) => query(selectHistory({ modelId, version, after })),

      setAlias: (id, alias, version, at) =>
        query(sql.withTransaction(Effect.andThen(
          sql`INSERT INTO aliases (model_id, alias, version) VALUES (${id}::uuid, ${alias}, ${version})
            ON CONFLICT (model_id, alias) DO UPDATE SET version = excluded.version`,
          touch(id, at)
        ))).pipe(Effect.asVoid),
      removeAlias: (id, alias, at) =>
        query(sql.withTransaction(Effect.gen(function*() {
          const removed =
            yield* sql`DELETE FROM aliases WHERE model_id = ${id}::uuid AND alias = ${alias} RETURNING alias`
          if (removed.length > 0) yield* touch(id, at)
          return removed.length > 0
        }))),

      claimArtifact: ({ sha256, size, format }) =>
        query(sql`INSERT INTO artifacts (sha256, size, format) VALUES (${sha256}, ${size}, ${format})
          ON CONFLICT (sha256) DO UPDATE SET used_at = now()`).pipe(Effect.asVoid),
      sweepArtifacts: ({ graceMillis, only }, remove) =>
        unavailableOrDie(sql.withTransaction(Effect.gen(function*() {
          const held = yield* query(selectUnused({ graceSeconds: graceMillis / 1_000, only }))
          // Looked at again, now that nobody can refer to them: who did while this waited is seen by a new statement.
          const unused = yield* query(selectStillUnused(held.map(({ sha256 }) => sha256)))
          yield* Effect.forEach(unused, ({ sha256 }) =>
            Effect.andThen(remove(sha256), sql`DELETE FROM artifacts WHERE sha256 = ${sha256}`), { discard: true })
          return unused.length
        }))),
      knowsArtifact: (sha256) => query(countArtifact(sha256)).pipe(Effect.map(Option.isSome))
    })
  })
)
