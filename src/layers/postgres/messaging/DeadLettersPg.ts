/** The book of dead letters as rows. A replay goes through the outbox, in the transaction that records it. */
import { Array, DateTime, Duration, Effect, Layer, Option, Schedule, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import {
  DeadLetterLost,
  DeadLetters,
  DeadLetterSettled,
  deadLetterStates,
  DeadLettersUnavailable,
  DeadLetterUnknown
} from "../../../messaging/DeadLetters.ts"
import type { DeadLetter, DeadLetterFilter } from "../../../messaging/DeadLetters.ts"
import { EventLog } from "../../../messaging/EventLog.ts"
import { Outbox } from "../../../messaging/Outbox.ts"
import * as RecordHeaders from "../../../messaging/RecordHeaders.ts"
import { passingFailure } from "./SqlFailure.ts"

export interface DeadLettersPgOptions {
  /** How long letters are kept that were replayed or discarded. Default 90 days. */
  readonly keepSettled?: Duration.Input | undefined
  /** How often older ones are removed. Default 1 hour. */
  readonly removeEvery?: Duration.Input | undefined
}

const Row = Schema.Struct({
  id: Schema.String,
  topic: Schema.String,
  partition: Schema.Int,
  offset: Schema.BigInt,
  consumer: Schema.String,
  key: Schema.String,
  event_id: Schema.NullOr(Schema.String),
  error: Schema.String,
  message: Schema.String,
  stack: Schema.String,
  digest: Schema.String,
  attempts: Schema.Int,
  failed_at: Schema.DateTimeUtcFromDate,
  state: Schema.Literals(deadLetterStates),
  replays: Schema.Int
})
const decodeRow = Schema.decodeUnknownEffect(Row)

const Letter = Schema.Struct({
  [RecordHeaders.deadLetter.topic]: Schema.String,
  [RecordHeaders.deadLetter.partition]: Schema.FiniteFromString,
  [RecordHeaders.deadLetter.offset]: Schema.FiniteFromString,
  [RecordHeaders.deadLetter.group]: Schema.String,
  [RecordHeaders.deadLetter.error]: Schema.String,
  [RecordHeaders.deadLetter.message]: Schema.String,
  [RecordHeaders.deadLetter.stack]: Schema.String,
  [RecordHeaders.deadLetter.digest]: Schema.String,
  [RecordHeaders.deadLetter.attempts]: Schema.FiniteFromString,
  [RecordHeaders.deadLetter.at]: Schema.DateTimeUtcFromString,
  [RecordHeaders.deadLetter.value]: Schema.optionalKey(Schema.Literal("omitted")),
  [RecordHeaders.eventId]: Schema.optionalKey(Schema.String),
  [RecordHeaders.replay.count]: Schema.optionalKey(Schema.FiniteFromString)
})
const decodeLetter = Schema.decodeUnknownOption(Letter)

const isUuid = Schema.is(Schema.String.check(Schema.isUUID()))

const own = new Set<string>([...Object.values(RecordHeaders.deadLetter), RecordHeaders.eventId])

const columns = `id, topic, partition, "offset", consumer, key, event_id, error, message, stack, digest, attempts,
  failed_at, state, replays`

/** Rows a statement, so that none holds locks for long. */
const removeBatch = 1_000
/** Letters that `replayAll` looks up at once. */
const replayBatch = 100

const toLetter = (row: unknown): Effect.Effect<DeadLetter> =>
  Effect.map(Effect.orDie(decodeRow(row)), ({ consumer, event_id, failed_at, offset, ...rest }) => ({
    ...rest,
    group: consumer,
    eventId: event_id ?? undefined,
    failedAt: failed_at,
    offset: Number(offset)
  }))

export const layer = (options: DeadLettersPgOptions = {}) =>
  Layer.effect(
    DeadLetters,
    Effect.gen(function*() {
      const sql = (yield* SqlClient.SqlClient).withoutTransforms()
      const outbox = yield* Outbox
      const log = yield* EventLog
      const random = yield* SecureRandom.SecureRandom

      const failure = (operation: string) => passingFailure((cause) => new DeadLettersUnavailable({ operation, cause }))

      const keepMillis = Duration.toMillis(options.keepSettled ?? "90 days")
      yield* sql`
        DELETE FROM dead_letters WHERE id IN (
          SELECT id FROM dead_letters
          WHERE state <> 'waiting' AND changed_at < now() - make_interval(secs => ${keepMillis / 1000}::float8)
          LIMIT ${removeBatch} FOR UPDATE SKIP LOCKED
        ) RETURNING 1`.pipe(
        Effect.repeat({ while: (removed) => removed.length === removeBatch }),
        Effect.catch((error) => Effect.logWarning("Old dead letters could not be removed; tried again later", error)),
        Effect.repeat(Schedule.spaced(options.removeEvery ?? "1 hour")),
        Effect.forkScoped
      )

      const record: DeadLetters["Service"]["record"] = Effect.fnUntraced(function*(letter) {
        const headers = Option.getOrUndefined(decodeLetter(letter.headers))
        if (headers === undefined) {
          return yield* Effect.logWarning(
            `Offset ${letter.offset} of ${letter.topic}/${letter.partition} is no dead letter of this program`
          )
        }
        const eventId = headers[RecordHeaders.eventId] ?? null
        const [partition, offset] = [
          headers[RecordHeaders.deadLetter.partition],
          headers[RecordHeaders.deadLetter.offset]
        ]
        const values = {
          id: yield* random.uuidV7(),
          topic: headers[RecordHeaders.deadLetter.topic],
          consumer: headers[RecordHeaders.deadLetter.group],
          identity: eventId ?? `${partition}/${offset}`,
          replays: headers[RecordHeaders.replay.count] ?? 0,
          failedAt: DateTime.toDateUtc(headers[RecordHeaders.deadLetter.at]),
          value: headers[RecordHeaders.deadLetter.value] === undefined ? letter.value : null
        }
        yield* sql`
          WITH entered AS (
            INSERT INTO dead_letters (id, topic, consumer, identity, partition, "offset", key, event_id, error, message,
              stack, digest, attempts, failed_at, headers, value, replays)
            VALUES (${values.id}::uuid, ${values.topic}, ${values.consumer}, ${values.identity}, ${partition}, ${offset},
              ${letter.key}, ${eventId}, ${headers[RecordHeaders.deadLetter.error]},
              ${headers[RecordHeaders.deadLetter.message]}, ${headers[RecordHeaders.deadLetter.stack]},
              ${headers[RecordHeaders.deadLetter.digest]}, ${headers[RecordHeaders.deadLetter.attempts]},
              ${values.failedAt}, ${JSON.stringify(letter.headers)}::jsonb, ${values.value}, ${values.replays})
            ON CONFLICT (topic, consumer, identity) DO UPDATE SET
              state = 'waiting', partition = excluded.partition, "offset" = excluded."offset", error = excluded.error,
              message = excluded.message, stack = excluded.stack, digest = excluded.digest,
              attempts = excluded.attempts, failed_at = excluded.failed_at, headers = excluded.headers,
              value = excluded.value, changed_at = now()
            -- The outcome of the last replay, and not a letter that was known before it.
            WHERE dead_letters.state = 'replayed' AND dead_letters.replays = excluded.replays
            RETURNING id, replays
          )
          INSERT INTO dead_letter_acts (letter_id, act, actor, reason)
          SELECT id, 'returned', ${values.consumer}, ${headers[RecordHeaders.deadLetter.message]}
          FROM entered WHERE id <> ${values.id}::uuid`.pipe(failure("record"))
      })

      const matches = ({ error, group, key, state, topic }: DeadLetterFilter) =>
        sql.and([
          sql`TRUE`,
          ...topic === undefined ? [] : [sql`topic = ${topic}`],
          ...group === undefined ? [] : [sql`consumer = ${group}`],
          ...error === undefined ? [] : [sql`error = ${error}`],
          ...key === undefined ? [] : [sql`key = ${key}`],
          ...state === undefined ? [] : [sql`state = ${state}`]
        ])

      const list: DeadLetters["Service"]["list"] = (filter, { before, limit }) =>
        sql`SELECT ${sql.literal(columns)} FROM dead_letters
          WHERE ${matches(filter)} ${before === undefined ? sql`` : sql`AND id < ${before}::uuid`}
          ORDER BY id DESC LIMIT ${limit}`.pipe(failure("list"), Effect.flatMap(Effect.forEach(toLetter)))

      const byId = (id: string, lock = sql``) =>
        isUuid(id)
          ? sql<{ readonly headers: Readonly<Record<string, string>>; readonly value: Uint8Array | null }>`
            SELECT ${sql.literal(columns)}, headers, value FROM dead_letters WHERE id = ${id}::uuid ${lock}`.pipe(
            Effect.flatMap(([row]) => row === undefined ? new DeadLetterUnknown({ id }) : Effect.succeed(row))
          )
          : new DeadLetterUnknown({ id })

      const acts = (id: string) =>
        Effect.map(
          sql<{
            readonly act: "replayed" | "discarded" | "returned"
            readonly actor: string
            readonly reason: string | null
            readonly at: Date
          }>`SELECT act, actor, reason, at FROM dead_letter_acts WHERE letter_id = ${id}::uuid ORDER BY seq`,
          Array.map(({ act, actor, at, reason }) => ({
            act,
            by: actor,
            reason: reason ?? undefined,
            at: DateTime.fromDateUnsafe(at)
          }))
        )

      const find: DeadLetters["Service"]["find"] = (id) =>
        Effect.gen(function*() {
          const row = yield* byId(id)
          return {
            letter: yield* toLetter(row),
            headers: row.headers,
            value: row.value ?? new Uint8Array(),
            acts: yield* acts(id)
          }
        }).pipe(failure("find"))

      /** The row of a letter that waits, locked until the transaction ends. */
      const claim = Effect.fnUntraced(function*(id: string) {
        const row = yield* byId(id, sql`FOR UPDATE`)
        const letter = yield* toLetter(row)
        if (letter.state !== "waiting") return yield* new DeadLetterSettled({ id, state: letter.state })
        return { letter, headers: row.headers, value: row.value }
      })

      const settle = Effect.fnUntraced(function*(
        { id }: DeadLetter,
        state: "replayed" | "discarded",
        by: string,
        reason: string | null
      ) {
        yield* sql`INSERT INTO dead_letter_acts (letter_id, act, actor, reason) VALUES (${id}::uuid, ${state}, ${by}, ${reason})`
        const [row] = yield* sql`
          UPDATE dead_letters SET state = ${state}, changed_at = now(), replays = replays + ${
          state === "replayed" ? 1 : 0
        }
          WHERE id = ${id}::uuid RETURNING ${sql.literal(columns)}`
        return yield* toLetter(row)
      })

      /** A value that the letter could not take is still where the message came from, unless retention has removed it. */
      const valueOf = Effect.fnUntraced(
        function*({ id, offset, partition, topic }: DeadLetter, kept: Uint8Array | null) {
          if (kept !== null) return kept
          const { records: [found] } = yield* log.read({ topic, partition, offset, maxRecords: 1 }).pipe(
            Effect.catchTags({
              EventLogUnavailable: (cause) => new DeadLettersUnavailable({ operation: "replay", cause }),
              UnknownTopic: () => new DeadLetterLost({ id })
            })
          )
          return found?.offset === offset ? found.value : yield* new DeadLetterLost({ id })
        }
      )

      const replay: DeadLetters["Service"]["replay"] = (id, by) =>
        sql.withTransaction(Effect.gen(function*() {
          const { headers, letter, value } = yield* claim(id)
          const { eventId, group, key, replays, topic } = letter
          const payload = yield* valueOf(letter, value)
          const replayed = yield* settle(letter, "replayed", by, null)
          yield* outbox.append([{
            id: eventId !== undefined && isUuid(eventId) ? eventId : yield* random.uuidV7(),
            topic,
            key,
            headers: {
              ...Object.fromEntries(Object.entries(headers).filter(([name]) => !own.has(name))),
              [RecordHeaders.replay.group]: group,
              [RecordHeaders.replay.count]: String(replays + 1)
            },
            payload
          }]).pipe(Effect.catchTags({
            OutboxUnavailable: (cause) => new DeadLettersUnavailable({ operation: "replay", cause }),
            RecordTooLarge: () => new DeadLetterLost({ id })
          }))
          return replayed
        })).pipe(failure("replay"))

      const replayAll: DeadLetters["Service"]["replayAll"] = Effect.fnUntraced(function*(filter, by) {
        let replayed = 0
        let after = "00000000-0000-0000-0000-000000000000"
        while (true) {
          const batch = yield* sql<{ readonly id: string }>`
            SELECT id FROM dead_letters WHERE ${matches({ ...filter, state: "waiting" })} AND id > ${after}::uuid
            ORDER BY id LIMIT ${replayBatch}`.pipe(failure("replay"))
          for (const { id } of batch) {
            replayed += yield* replay(id, by).pipe(
              Effect.as(1),
              // Somebody else was faster, or it can't be helped; the others are still to be replayed.
              Effect.catchTags({
                DeadLetterUnknown: () => Effect.succeed(0),
                DeadLetterSettled: () => Effect.succeed(0),
                DeadLetterLost: (error) => Effect.as(Effect.logWarning(error.message), 0)
              })
            )
            after = id
          }
          if (batch.length < replayBatch) return replayed
        }
      })

      return DeadLetters.of({
        record,
        list,
        find,
        replay,
        replayAll,
        discard: (id, by, reason) =>
          sql.withTransaction(Effect.flatMap(claim(id), ({ letter }) => settle(letter, "discarded", by, reason))).pipe(
            failure("discard")
          ),
        waiting: Effect.map(
          sql<{ readonly topic: string; readonly consumer: string; readonly count: bigint }>`
            SELECT topic, consumer, count(*) AS count FROM dead_letters WHERE state = 'waiting'
            GROUP BY topic, consumer ORDER BY topic, consumer`,
          Array.map(({ consumer, count, topic }) => ({ topic, group: consumer, count: Number(count) }))
        ).pipe(failure("waiting"))
      })
    })
  )
