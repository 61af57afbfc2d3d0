/**
 * Owners as rows, whose leases are measured by the server's clock. Of an owner whose process is gone the lease is cut
 * short: see `Presence`. What an owner may still write is decided by the epochs of its sagas alone.
 */
import { Deferred, Duration, Effect, Fiber, Option } from "effect"
import type { Scope } from "effect"
import type { SqlClient, Statement } from "effect/sql"
import type { DefinitionKey, Journal } from "../../../saga/Journal.ts"
import { channel } from "../messaging/Notifications.ts"
import type { Notifications } from "../messaging/Notifications.ts"
import type * as Presence from "../messaging/Presence.ts"
import { anyFailure } from "../messaging/SqlFailure.ts"
import { changesSubject, isActive, nobody, recordColumns, withEntries } from "./SagaRows.ts"
import type { RecordRow } from "./SagaRows.ts"
import { unavailable } from "./SagaWrites.ts"

/** An owner's row stays for longer than any of its writes can be on its way. */
const remembered = "1 hour"

interface Options {
  readonly sql: SqlClient.SqlClient
  readonly notifications: Notifications["Service"]
  readonly lease: Duration.Duration
  /** Opens the latches of all who claim in this process. */
  readonly lookAgain: Effect.Effect<void>
  /** Where things are done that nobody waits for. */
  readonly scope: Scope.Scope
}

export const make = ({ lease, lookAgain, notifications, scope, sql }: Options) => {
  const fromNow = (duration: Duration.Duration) =>
    sql`clock_timestamp() + make_interval(secs => ${Duration.toSeconds(duration)}::float8)`
  const active = isActive(sql)
  const columns = recordColumns(sql)
  const announce = sql`pg_notify(${channel}, ${changesSubject})`
  const failure = (operation: string) => anyFailure(unavailable(operation))

  /** What the others may know of an owner of this process: its presence, and those that it has tried to tell. */
  const announced = new Set<Presence.Presence>()

  const join = sql<{ readonly id: string }>`
    INSERT INTO saga_owners (id, expires_at, names, versions) VALUES (gen_random_uuid(), ${fromNow(lease)}, '{}', '{}')
    RETURNING id`.pipe(
    Effect.flatMap(([row]) => row === undefined ? Effect.die("The new owner has no id") : Effect.succeed(row.id)),
    failure("join")
  )

  const renew = (
    owner: string,
    definitions: ReadonlyArray<DefinitionKey>,
    presence: Presence.Presence | undefined
  ) =>
    sql<{ readonly isKept: boolean; readonly cancelled: ReadonlyArray<string> }>`
      WITH kept AS (
        UPDATE saga_owners SET expires_at = ${fromNow(lease)}, presence = ${presence?.lock ?? null}::bigint,
          names = ${definitions.map(({ name }) => name)}::text[],
          versions = ${definitions.map(({ version }) => version)}::int[]
        WHERE id = ${owner}::uuid AND expires_at > clock_timestamp() RETURNING 1
      ), forgotten AS (
        DELETE FROM saga_owners AS o WHERE id <> ${nobody}::uuid
          AND expires_at < clock_timestamp() - ${remembered}::interval
          AND NOT EXISTS (SELECT FROM sagas AS s WHERE s.owner = o.id AND ${active})
      )
      SELECT EXISTS (SELECT FROM kept) AS "isKept", ARRAY(
        SELECT s.id FROM sagas AS s WHERE s.owner = ${owner}::uuid AND s.is_cancel_requested AND ${active}
      ) AS cancelled`

  /** Shared, so that several may look at the same time. */
  const cutShort = (owner: string) =>
    sql`
      WITH others AS MATERIALIZED (
        SELECT id, presence FROM saga_owners
        WHERE id <> ${owner}::uuid AND presence IS NOT NULL AND expires_at > ${fromNow(notifications.grace)}
      )
      UPDATE saga_owners AS o SET expires_at = ${fromNow(notifications.grace)}
      FROM others WHERE o.id = others.id AND pg_try_advisory_xact_lock_shared(others.presence) RETURNING 1`

  const lookAgainAfterGrace = Effect.forkIn(Effect.andThen(Effect.sleep(notifications.grace), lookAgain), scope)

  const renewAndLook = Effect.fnUntraced(function*(
    owner: string,
    definitions: ReadonlyArray<DefinitionKey>,
    presence: Presence.Presence | undefined
  ) {
    const [kept] = yield* renew(owner, definitions, presence)
    if (kept?.isKept !== true) return Option.none()
    if ((yield* cutShort(owner)).length > 0) yield* lookAgainAfterGrace
    return Option.some(kept.cancelled)
  }, failure("keep"))

  /** Ends with the lease, or when others cut it short; it does not wait for a server that hangs. */
  const keep: Journal["Service"]["keep"] = Effect.fnUntraced(function*(owner, definitions) {
    const presence = yield* notifications.presence
    if (presence !== undefined) announced.add(presence)
    const renewing = yield* Effect.forkIn(renewAndLook(owner, definitions, presence), scope)
    const outlived = Array.from(announced, ({ forgotten }) => Effect.as(Deferred.await(forgotten), Option.none()))
    const kept = yield* Effect.raceAllFirst([Fiber.join(renewing), ...outlived]).pipe(
      Effect.onExit(() => Effect.sync(() => renewing.interruptUnsafe()))
    )
    for (const one of announced) if (one !== presence) announced.delete(one)
    return kept
  })

  const giveBack: Journal["Service"]["giveBack"] = (owner, sagaIds) =>
    sql`
      WITH given AS (
        UPDATE sagas AS s SET owner = ${nobody}::uuid
        WHERE s.id = ANY (${sagaIds}::text[]) AND s.owner = ${owner}::uuid AND ${active} RETURNING 1
      )
      SELECT ${announce} FROM given LIMIT 1`.pipe(Effect.asVoid, failure("giveBack"))

  // The row stays: what is still on its way to the journal is found there, as that of a dead owner.
  const leave: Journal["Service"]["leave"] = (owner) =>
    sql`
      WITH ended AS (
        UPDATE saga_owners SET expires_at = clock_timestamp(), presence = NULL
        WHERE id = ${owner}::uuid AND expires_at > clock_timestamp()
      ), given AS (
        UPDATE sagas AS s SET owner = ${nobody}::uuid WHERE s.owner = ${owner}::uuid AND ${active} RETURNING 1
      )
      SELECT ${announce} FROM given LIMIT 1`.pipe(Effect.asVoid, failure("leave"))

  /** Takes over sagas of dead owners and of nobody. Rows that another one is just taking are passed over. */
  const take = (owner: string, limit: number, isWanted: Statement.Fragment) =>
    sql<RecordRow>`
      WITH free AS MATERIALIZED (
        SELECT s.id FROM sagas AS s
        WHERE s.owner = ANY (ARRAY(SELECT id FROM saga_owners WHERE expires_at <= clock_timestamp())) AND ${active}
          AND ${isWanted}
          AND EXISTS (SELECT FROM saga_owners WHERE id = ${owner}::uuid AND expires_at > clock_timestamp())
        LIMIT ${limit} FOR UPDATE SKIP LOCKED
      )
      UPDATE sagas AS s SET owner = ${owner}::uuid, epoch = s.epoch + 1,
        recoveries = s.recoveries + (s.owner <> ${nobody}::uuid)::int
      FROM free WHERE s.id = free.id
      RETURNING ${columns}`.pipe(Effect.flatMap((rows) => withEntries(sql, rows)))

  const claim: Journal["Service"]["claim"] = (owner, definitions, limit) =>
    take(
      owner,
      limit,
      sql`(s.name, s.version) IN (SELECT * FROM unnest(
        ${definitions.map(({ name }) => name)}::text[], ${definitions.map(({ version }) => version)}::int[]))`
    ).pipe(failure("claim"))

  const claimOrphans: Journal["Service"]["claimOrphans"] = (owner, names, limit) =>
    take(
      owner,
      limit,
      sql`s.name = ANY (${names}::text[]) AND (s.name, s.version) NOT IN (
        SELECT d.name, d.version FROM saga_owners, unnest(names, versions) AS d (name, version)
        WHERE expires_at > clock_timestamp())`
    ).pipe(failure("claimOrphans"))

  return { join, keep, giveBack, leave, claim, claimOrphans }
}
