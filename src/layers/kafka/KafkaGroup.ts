/**
 * One member of a consumer group under Kafka's own coordination ("classic" protocol: JoinGroup, SyncGroup, Heartbeat).
 * The broker fences by member and generation: it refuses a commit of a member that it has put out.
 */
import { Clock, Duration, Effect, Latch, Option } from "effect"
import { EventLogUnavailable, PartitionLost, UnknownTopic } from "../../messaging/EventLog.ts"
import type { AssignedPartition, Subscription } from "../../messaging/EventLog.ts"
import type { GroupCoordinator, Held } from "../../messaging/GroupMember.ts"
import type { Partition } from "./GroupProtocol.ts"
import type { GroupRequests, MemberIdentity } from "./GroupRequests.ts"
import { isOut, isRebalance } from "./GroupRequests.ts"
import type { KafkaFetcher } from "./KafkaFetcher.ts"
import type { KafkaOffsets } from "./KafkaOffsets.ts"
import { unavailable } from "./KafkaTopics.ts"

export interface GroupOptions {
  /** How long a member may fall silent before its partitions go to others. */
  readonly sessionTimeout: Duration.Duration
  /** How often a member shows that it is alive, and so how soon it hears that the group changes. */
  readonly heartbeatInterval: Duration.Duration
}

interface KafkaHeld extends Held {
  /** The furthest offset that this member has committed. */
  committed: number
  excess: boolean
}

interface Membership extends MemberIdentity {
  generation: number
  readonly held: Map<string, KafkaHeld>
  /** Assigned, but it is not known yet where to begin. */
  pending: ReadonlyArray<Partition>
  /** The group changes, or waits for what this member has given back. */
  mustEnter: boolean
}

const nameOf = ({ partition, topic }: Partition) => `${topic}/${partition}`

/** One member's view of its group. */
export const coordinator = (
  requests: GroupRequests,
  offsets: KafkaOffsets,
  fetcher: KafkaFetcher,
  { from, group }: Subscription,
  options: GroupOptions
): GroupCoordinator<KafkaHeld> => {
  const changes = Latch.makeUnsafe(false)
  let current: Membership | undefined
  /** Kept after a failure: if the broker still knows the member, the group need not wait until it counts as gone. */
  let lastId = ""
  let acquired = 0

  const enter = (id: string, membership: Membership | undefined) =>
    Effect.suspend(() =>
      requests.enter(id, {
        generation: membership?.generation ?? -1,
        owned: [...membership?.held.values() ?? []].map(({ partition, topic }) => ({ topic, partition }))
      }, (given) => {
        lastId = given
      })
    )

  const join = Effect.gen(function*() {
    const { generation, id, share } = yield* enter(lastId, undefined)
    current = { id, generation, held: new Map(), pending: share, mustEnter: false }
    return id
  }).pipe(Effect.tapError((failure) =>
    Effect.sync(() => {
      if (isOut(failure)) lastId = ""
    })
  ))

  const enterAgain = Effect.fnUntraced(function*(member: Membership) {
    // At first, for what is given back in the meantime is a reason to enter once more.
    member.mustEnter = false
    const { generation, share } = yield* Effect.tapError(enter(member.id, member), () =>
      Effect.sync(() => {
        member.mustEnter = true
      }))
    member.generation = generation
    const names = new Set(share.map(nameOf))
    for (const [name, held] of member.held) {
      if (!names.has(name)) held.excess = true
    }
    member.pending = share.filter((partition) => !member.held.has(nameOf(partition)))
  })

  /** Where to begin with what is new. Where the group has been nowhere yet, that is settled now. */
  const begin = Effect.fnUntraced(function*(member: Membership) {
    if (member.pending.length === 0) return
    const positions = new Map<string, number>()
    for (const { offset, ...partition } of yield* offsets.committed(group, member.pending)) {
      if (offset !== undefined) positions.set(nameOf(partition), offset)
    }
    const unsettled = member.pending.filter((partition) => !positions.has(nameOf(partition)))
    for (const [topic, partitions] of Map.groupBy(unsettled, ({ topic }) => topic)) {
      const side = yield* offsets.side(topic, from === "earliest" ? "start" : "end")
      for (const { partition } of partitions) positions.set(nameOf({ topic, partition }), side.get(partition) ?? 0)
    }
    const positionOf = (partition: Partition) => positions.get(nameOf(partition)) ?? 0
    if (unsettled.length > 0) {
      yield* requests.commit(member, unsettled.map((partition) => ({ ...partition, offset: positionOf(partition) })))
    }
    for (const { partition, topic } of member.pending) {
      const committed = positionOf({ topic, partition })
      const held = { topic, partition, generation: ++acquired, committed, excess: false }
      member.held.set(nameOf(held), held)
    }
    member.pending = []
  })

  const sync = Effect.fnUntraced(
    function*(id: string) {
      const member = current
      if (member?.id !== id) return Option.none()
      if (!member.mustEnter) {
        yield* Effect.catchIf(requests.heartbeat(member), isRebalance, () =>
          Effect.sync(() => {
            member.mustEnter = true
          }))
      }
      if (member.mustEnter) yield* enterAgain(member)
      yield* begin(member)
      return Option.some([...member.held.values()].map((held) => ({ ...held })))
    },
    Effect.catchIf(isOut, () =>
      Effect.sync(() => {
        current = undefined
        lastId = ""
        return Option.none()
      }))
  )

  /** While the partition has belonged to this member without interruption. */
  const find = (id: string, held: Held) => {
    const found = current?.id === id ? current.held.get(nameOf(held)) : undefined
    return found?.generation === held.generation ? found : undefined
  }

  const release = (id: string, held: KafkaHeld) =>
    Effect.sync(() => {
      if (current === undefined || find(id, held) === undefined) return
      current.held.delete(nameOf(held))
      current.mustEnter = true
      changes.openUnsafe()
    })

  const leave = (id: string) =>
    Effect.suspend(() => {
      current = undefined
      return requests.leave(id)
    }).pipe(
      Effect.catchIf(isOut, () => Effect.void),
      Effect.andThen(Effect.sync(() => {
        lastId = ""
      }))
    )

  /** Commits where `at` stands while the partition that is held has belonged to this member without interruption. */
  const commit = (id: string, held: KafkaHeld, at: { readonly topic: string; committed: number } = held) =>
    Effect.fnUntraced(function*(nextOffset: number) {
      const { partition } = held
      const lost = new PartitionLost({ group, topic: held.topic, partition })
      const deadline = (yield* Clock.currentTimeMillis) + Duration.toMillis(options.sessionTimeout)
      while (true) {
        const mine = find(id, held)
        if (current === undefined || mine === undefined) return yield* lost
        const place = at === held ? mine : at
        if (nextOffset <= place.committed) return
        const failure = yield* Effect.match(
          requests.commit(current, [{ topic: at.topic, partition, offset: nextOffset }]),
          { onFailure: (failure) => failure, onSuccess: () => undefined }
        )
        if (failure === undefined) {
          place.committed = Math.max(place.committed, nextOffset)
          return
        }
        if (isOut(failure)) return yield* lost
        if (!isRebalance(failure) || (yield* Clock.currentTimeMillis) >= deadline) {
          return yield* new EventLogUnavailable({ operation: "commit", cause: failure })
        }
        // Nothing is committed between two generations; whether the partition stays is known soon.
        changes.openUnsafe()
        yield* Effect.sleep("20 millis")
      }
    })

  /** The broker takes commits of a member's generation for any partition, so those of companions need no share of it. */
  const companions = (id: string, held: KafkaHeld): AssignedPartition["companions"] =>
    Effect.fnUntraced(function*(topics) {
      const { partition } = held
      const positions = new Map(
        (yield* unavailable("companions")(
          offsets.committed(group, topics.map((topic) => ({ topic, partition })))
        )).map(({ offset, topic }) => [topic, offset])
      )
      return yield* Effect.forEach(topics, (topic) =>
        Effect.gen(function*() {
          const [starts, ends] = yield* unavailable("companions")(
            Effect.all([offsets.side(topic, "start"), offsets.side(topic, "end")])
          )
          const [start, end] = [starts.get(partition), ends.get(partition)]
          if (start === undefined || end === undefined) return yield* new UnknownTopic({ topic })
          const committed = Math.max(start, positions.get(topic) ?? start)
          const take = yield* fetcher.open(topic, partition, committed)
          return { topic, partition, committed, end, take, commit: commit(id, held, { topic, committed }) }
        }), { concurrency: "unbounded" })
    })

  return {
    // Who joins may have to wait until a member that died counts as gone.
    lease: Duration.sum(options.sessionTimeout, Duration.seconds(3)),
    renewEvery: options.heartbeatInterval,
    changes,
    join: unavailable("join")(join),
    sync: (id) => unavailable("sync")(sync(id)),
    release,
    leave: (id) => unavailable("leave")(leave(id)),
    open: Effect.fnUntraced(function*(id, held) {
      const { committed, partition, topic } = held
      const take = yield* fetcher.open(topic, partition, committed)
      return { topic, partition, committed, take, commit: commit(id, held), companions: companions(id, held) }
    })
  }
}
