/**
 * The state of consumer groups as rows. Changes of a group are made under the lock of its row, all leases are measured
 * by the server's clock, and a partition's `generation` counts its owners: a commit that names an old one, or comes
 * after the end of the lease, changes nothing and is refused.
 *
 * Of a member whose process is gone the lease is cut short: see `Presence`.
 */
import { Deferred, Duration, Effect, Fiber, Option } from "effect"
import type { Latch, Scope } from "effect"
import type { SqlClient } from "effect/sql"
import { shareOf } from "../../../messaging/Assignment.ts"
import { EventLogUnavailable, PartitionLost, UnknownTopic } from "../../../messaging/EventLog.ts"
import type { AssignedPartition, Subscription } from "../../../messaging/EventLog.ts"
import { leaveInTime } from "../../../messaging/GroupMember.ts"
import type { GroupCoordinator, Held } from "../../../messaging/GroupMember.ts"
import { channel } from "./Notifications.ts"
import type { Notifications } from "./Notifications.ts"
import { recordsSubject } from "./PgAppend.ts"
import * as PgReader from "./PgReader.ts"
import { failure } from "./PgTopics.ts"
import type { PgTopics } from "./PgTopics.ts"
import type * as Presence from "./Presence.ts"

/** The subject of notifications about changes of a group. */
export const groupSubject = (group: string): string => `event-log-group/${group}`

interface Row {
  readonly id: number
  readonly topic: string
  readonly partition: number
  readonly owner: string | undefined
  readonly generation: number
  readonly committed: number
  readonly end: number
}

interface PgHeld extends Held {
  readonly id: number
}

/** One member's view of its group. `scope` is where it does what nobody waits for. */
export const coordinator = (
  sql: SqlClient.SqlClient,
  notifications: Notifications["Service"],
  topicsOf: PgTopics,
  options: {
    readonly subscription: Subscription
    readonly lease: Duration.Duration
    readonly changes: Latch.Latch
    readonly scope: Scope.Scope
  }
): GroupCoordinator<PgHeld> => {
  const { changes, lease, scope, subscription } = options
  const { from, group, topics } = subscription
  const readers = new Map<number, PgReader.PgReader>()
  const fromNow = (duration: Duration.Duration) =>
    sql`clock_timestamp() + make_interval(secs => ${Duration.toSeconds(duration)}::float8)`
  const leaseEnd = fromNow(lease)
  const renewEvery = Duration.divideUnsafe(lease, 3)
  // Who falls silent with the lock in its hands loses it before the others' leases end
  const lock = sql`
    SELECT set_config('idle_in_transaction_session_timeout', ${String(Math.ceil(Duration.toMillis(renewEvery)))}, true)
    FROM event_log_groups WHERE name = ${group} FOR UPDATE`
  const announce = sql`SELECT pg_notify(${channel}, ${groupSubject(group)})`

  /** What the others may know of this member: the presence that it has told them, and those that it has tried to tell. */
  const announced = new Set<Presence.Presence>()

  /** `made` hears the id before it is known whether the transaction commits. */
  const enter = Effect.fnUntraced(
    function*(made: (id: string) => void) {
      yield* sql`INSERT INTO event_log_groups (name) VALUES (${group}) ON CONFLICT DO NOTHING`
      yield* lock
      yield* sql`
        INSERT INTO event_log_offsets (group_name, partition_id, committed)
        SELECT ${group}, id, ${from === "latest" ? sql`next_offset` : sql`start_offset`}
        FROM event_log_partitions WHERE topic = ANY (${topics}::text[])
        ON CONFLICT DO NOTHING`
      const [member] = yield* sql<{ readonly id: string }>`
        INSERT INTO event_log_members (group_name, topics, expires_at) VALUES (${group}, ${topics}, ${leaseEnd})
        RETURNING id`
      if (member === undefined) return yield* Effect.die("The new member has no id")
      made(member.id)
      announced.clear()
      yield* announce
      return member.id
    },
    sql.withTransaction,
    failure("join")
  )

  const renew = (member: string, presence: Presence.Presence | undefined) =>
    sql`UPDATE event_log_members SET expires_at = ${leaseEnd}, presence = ${presence?.lock ?? null}::bigint
      WHERE id = ${member}::uuid AND expires_at > clock_timestamp() RETURNING 1`

  /** Shared, so that the members of other groups may look at the same time. */
  const cutShort = (member: string) =>
    sql`
      WITH others AS MATERIALIZED (
        SELECT id, presence FROM event_log_members
        WHERE group_name = ${group} AND id <> ${member}::uuid
          AND presence IS NOT NULL AND expires_at > ${fromNow(notifications.grace)}
      )
      UPDATE event_log_members AS member SET expires_at = ${fromNow(notifications.grace)}
      FROM others WHERE member.id = others.id AND pg_try_advisory_xact_lock_shared(others.presence) RETURNING 1`

  const lookAgain = Effect.forkIn(Effect.andThen(Effect.sleep(notifications.grace), changes.open), scope)

  const removeSilent = sql`
    DELETE FROM event_log_members WHERE group_name = ${group} AND expires_at <= clock_timestamp() RETURNING 1`

  const members = sql<{ readonly id: string; readonly topics: ReadonlyArray<string> }>`
    SELECT id, topics FROM event_log_members WHERE group_name = ${group}`

  const offsets = Effect.map(
    sql<{
      readonly id: number
      readonly topic: string
      readonly partition: number
      readonly owner: string | null
      readonly generation: bigint
      readonly committed: bigint
      readonly end: bigint
    }>`
      SELECT p.id, p.topic, p.partition, o.owner, o.generation, o.committed, p.next_offset AS end
      FROM event_log_offsets AS o JOIN event_log_partitions AS p ON p.id = o.partition_id
      WHERE o.group_name = ${group}`,
    (rows) =>
      rows.map((row): Row => ({
        ...row,
        owner: row.owner ?? undefined,
        generation: Number(row.generation),
        committed: Number(row.committed),
        end: Number(row.end)
      }))
  )

  const take = (member: string, ids: ReadonlyArray<number>) =>
    sql`UPDATE event_log_offsets SET owner = ${member}::uuid, generation = generation + 1
      WHERE group_name = ${group} AND partition_id = ANY (${ids}::int[])`

  const renewAndShare = (member: string, presence: Presence.Presence | undefined) =>
    Effect.gen(function*() {
      yield* lock
      if ((yield* renew(member, presence)).length === 0) return Option.none()
      if ((yield* cutShort(member)).length > 0) yield* lookAgain
      if ((yield* removeSilent).length > 0) yield* announce
      const rows = yield* offsets
      const { excess, free } = shareOf(member, yield* members, rows)
      if (free.length > 0) yield* take(member, free.map(({ id }) => id))
      const mine = rows.filter((row) => row.owner === member || free.includes(row))
      for (const { end, id } of rows) readers.get(id)?.hint(end)
      return Option.some(mine.map((row): PgHeld => ({
        id: row.id,
        topic: row.topic,
        partition: row.partition,
        committed: row.committed,
        generation: free.includes(row) ? row.generation + 1 : row.generation,
        excess: excess.includes(row)
      })))
    }).pipe(sql.withTransaction, failure("sync"))

  /** Ends with the lease, or when others cut it short; it does not wait for a server that hangs. */
  const sync = Effect.fnUntraced(function*(member: string) {
    const presence = yield* notifications.presence
    if (presence !== undefined) announced.add(presence)
    const renewing = yield* Effect.forkIn(renewAndShare(member, presence), scope)
    const outlived = Array.from(announced, ({ forgotten }) => Effect.as(Deferred.await(forgotten), Option.none()))
    const holdings = yield* Effect.raceAllFirst([Fiber.join(renewing), ...outlived]).pipe(
      Effect.onExit(() => Effect.sync(() => renewing.interruptUnsafe()))
    )
    for (const one of announced) if (one !== presence) announced.delete(one)
    return holdings
  })

  const isOwned = (member: string, { generation, id }: PgHeld) =>
    sql`group_name = ${group} AND partition_id = ${id} AND owner = ${member}::uuid AND generation = ${generation}`

  const release = (member: string, held: PgHeld) =>
    sql`UPDATE event_log_offsets SET owner = NULL WHERE ${isOwned(member, held)}`.pipe(
      Effect.andThen(announce),
      sql.withTransaction,
      failure("release")
    )

  const leave = (member: string) =>
    lock.pipe(
      Effect.andThen(sql`DELETE FROM event_log_members WHERE id = ${member}::uuid`),
      Effect.andThen(announce),
      sql.withTransaction,
      Effect.asVoid,
      failure("leave")
    )

  /** Who is told to stop while the transaction commits is a member that nobody hears of; the others would wait for it. */
  const join = Effect.suspend(() => {
    let made: string | undefined
    return enter((id) => {
      made = id
    }).pipe(Effect.onInterrupt(() => made === undefined ? Effect.void : leaveInTime({ lease, leave }, made)))
  })

  const commit = (member: string, held: PgHeld, partitionId = held.id) => (nextOffset: number) =>
    sql`
      UPDATE event_log_offsets SET committed = greatest(committed, ${nextOffset}::bigint)
      WHERE group_name = ${group} AND partition_id = ${partitionId}
        AND EXISTS (SELECT FROM event_log_offsets WHERE ${isOwned(member, held)})
        AND EXISTS (
          SELECT FROM event_log_members WHERE id = ${member}::uuid AND expires_at > clock_timestamp()
        )
      RETURNING 1`.pipe(
      failure("commit"),
      Effect.filterOrFail(
        (rows) => rows.length > 0,
        () => new PartitionLost({ group, topic: held.topic, partition: held.partition })
      ),
      Effect.asVoid
    )

  /** In the map of readers for as long as the scope is open, so that it is told of what notifications may have missed. */
  const openReader = (options: Omit<Parameters<typeof PgReader.make>[1], "subscription">) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const reader = PgReader.make(sql, { ...options, subscription })
        readers.set(options.partitionId, reader)
        return reader
      }),
      () => Effect.sync(() => readers.delete(options.partitionId))
    )

  const beginAlong = (ids: ReadonlyArray<number>) =>
    sql<{ readonly id: number; readonly committed: bigint; readonly end: bigint }>`
      WITH begun AS (
        INSERT INTO event_log_offsets (group_name, partition_id, committed)
        SELECT ${group}, id, start_offset FROM event_log_partitions WHERE id = ANY (${ids}::int[])
        ON CONFLICT DO NOTHING RETURNING partition_id, committed
      )
      SELECT p.id, coalesce(begun.committed, o.committed) AS committed, p.next_offset AS end
      FROM event_log_partitions AS p
      LEFT JOIN begun ON begun.partition_id = p.id
      LEFT JOIN event_log_offsets AS o ON o.group_name = ${group} AND o.partition_id = p.id
      WHERE p.id = ANY (${ids}::int[])`.pipe(failure("companions"))

  const companions = (member: string, held: PgHeld): AssignedPartition["companions"] =>
    Effect.fnUntraced(function*(names) {
      const { partition } = held
      const wanted = yield* Effect.forEach(names, (topic) =>
        Effect.gen(function*() {
          const id = (yield* topicsOf.find(topic))[partition]
          if (id === undefined) return yield* new UnknownTopic({ topic })
          const arrived = yield* notifications.latch(recordsSubject(id))
          arrived.closeUnsafe()
          return { id, topic, arrived }
        }))
      const positions = new Map((yield* beginAlong(wanted.map(({ id }) => id))).map((row) => [row.id, row]))
      return yield* Effect.forEach(wanted, ({ arrived, id, topic }) =>
        Effect.gen(function*() {
          const position = positions.get(id)
          if (position === undefined) {
            return yield* new EventLogUnavailable({ operation: "companions", cause: `${topic} was begun just now` })
          }
          const [committed, end] = [Number(position.committed), Number(position.end)]
          const { take } = yield* openReader({
            partitionId: id,
            topic,
            partition,
            from: committed,
            isEmpty: committed >= end,
            arrived
          })
          return { topic, partition, committed, end, take, commit: commit(member, held, id) }
        }))
    })

  const open = Effect.fnUntraced(function*(member: string, held: PgHeld) {
    const { committed, id, partition, topic } = held
    const arrived = yield* notifications.latch(recordsSubject(id))
    const { take } = yield* openReader({ partitionId: id, topic, partition, from: committed, arrived })
    return { topic, partition, committed, take, commit: commit(member, held), companions: companions(member, held) }
  })

  return {
    lease,
    renewEvery,
    changes,
    join,
    sync,
    release: (member, held) => Effect.asVoid(release(member, held)),
    leave,
    open
  }
}
