/**
 * The event log in the memory of one process, for tests and for trying things out. It keeps the whole contract: groups
 * of several members, leases on the program's clock (virtual time included), fencing. A partition keeps a bounded
 * number of records and forgets the oldest first, as a log with retention does.
 */
import { Array, Clock, Duration, Effect, Latch, Layer, Option } from "effect"
import { EventLog, PartitionLost, UnknownTopic } from "./EventLog.ts"
import type { NewRecord, Subscription } from "./EventLog.ts"
import * as GroupMember from "./GroupMember.ts"
import { MemoryGroup } from "./MemoryGroup.ts"
import { MemoryPartition } from "./MemoryPartition.ts"
import { partitionOf } from "./Partitioner.ts"
import { checkSizes, defaultMaxRecordBytes } from "./RecordSize.ts"

export interface EventLogMemoryOptions {
  /** Default 100,000. */
  readonly maxRecordsPerPartition?: number | undefined
  /** How long a member of a group may fall silent. Default 10 seconds. */
  readonly lease?: Duration.Input | undefined
  /** Default 1 MiB. */
  readonly maxRecordBytes?: number | undefined
}

/** The log, and a way to let all members of a group appear to have been paused for longer than their lease. */
export const make = (options: EventLogMemoryOptions = {}): {
  readonly log: EventLog["Service"]
  readonly endLeases: (group: string) => Effect.Effect<void>
} => {
  const { maxRecordBytes = defaultMaxRecordBytes, maxRecordsPerPartition = 100_000 } = options
  const lease = Duration.fromInputUnsafe(options.lease ?? "10 seconds")
  const topics = new Map<string, ReadonlyArray<MemoryPartition>>()
  const groups = new Map<string, MemoryGroup>()

  const partitionsOf = (topic: string): Effect.Effect<ReadonlyArray<MemoryPartition>, UnknownTopic> =>
    Effect.suspend(() => {
      const partitions = topics.get(topic)
      return partitions === undefined ? new UnknownTopic({ topic }) : Effect.succeed(partitions)
    })

  const groupOf = (name: string): MemoryGroup => {
    const group = groups.get(name) ?? new MemoryGroup(Duration.toMillis(lease))
    groups.set(name, group)
    return group
  }

  const ensureTopics: EventLog["Service"]["ensureTopics"] = (wanted) =>
    Effect.sync(() => {
      for (const { name, partitions } of wanted) {
        if (topics.has(name)) continue
        topics.set(name, Array.makeBy(partitions, (index) => new MemoryPartition(name, index, maxRecordsPerPartition)))
      }
    })

  const publish = Effect.fnUntraced(function*(records: ReadonlyArray<NewRecord>) {
    yield* checkSizes(records, maxRecordBytes)
    const targets = yield* Effect.forEach(records, (record) =>
      Effect.map(partitionsOf(record.topic), (partitions) => ({
        record,
        partition: partitions[partitionOf(record.key, partitions.length)]
      })))
    const now = yield* Clock.currentTimeMillis
    for (const { partition, record } of targets) partition?.append(record, now)
  })

  const coordinator = (
    group: MemoryGroup,
    subscription: Subscription,
    partitions: ReadonlyArray<MemoryPartition>
  ): GroupMember.GroupCoordinator => {
    const changes = Latch.makeUnsafe(false)
    return {
      lease,
      renewEvery: Duration.divideUnsafe(lease, 3),
      changes,
      join: Effect.map(Clock.currentTimeMillis, (now) => group.join(subscription.topics, changes, now)),
      sync: (member) => Effect.map(Clock.currentTimeMillis, (now) => Option.fromUndefinedOr(group.sync(member, now))),
      release: (member, held) => Effect.sync(() => group.release(member, held)),
      leave: (member) => Effect.sync(() => group.leave(member)),
      open: Effect.fnUntraced(function*(member, held) {
        const { partition, topic } = held
        const source = partitions.find((one) => one.topic === topic && one.partition === partition)
        const take = source === undefined ? Effect.never : yield* source.reader(held.committed, subscription)
        const lost = new PartitionLost({ group: subscription.group, topic, partition })
        const commit = (nextOffset: number) =>
          Effect.flatMap(
            Clock.currentTimeMillis,
            (now) => group.commit(member, held, nextOffset, now) ? Effect.void : lost
          )
        const companions = Effect.forEach((topic: string) =>
          Effect.gen(function*() {
            const source = (yield* partitionsOf(topic))[partition]
            if (source === undefined) return yield* new UnknownTopic({ topic })
            group.begin(topic, partition, source.start)
            const committed = group.committed(topic, partition)
            return {
              topic,
              partition,
              committed,
              end: source.end,
              take: yield* source.reader(committed, subscription),
              commit: (nextOffset: number) =>
                Effect.flatMap(Clock.currentTimeMillis, (now) =>
                  group.commitAlong(member, held, topic, nextOffset, now) ? Effect.void : lost)
            }
          })
        )
        return { topic, partition, committed: held.committed, take, commit, companions }
      })
    }
  }

  const subscribe: EventLog["Service"]["subscribe"] = Effect.fnUntraced(function*(subscription, onAssigned) {
    const partitions = (yield* Effect.forEach(subscription.topics, partitionsOf)).flat()
    const group = groupOf(subscription.group)
    for (const { end, partition, start, topic } of partitions) {
      group.begin(topic, partition, subscription.from === "latest" ? end : start)
    }
    return yield* GroupMember.run(coordinator(group, subscription, partitions), onAssigned)
  })

  const log = EventLog.of({
    ensureTopics,
    publish,
    subscribe,
    read: (excerpt) =>
      Effect.map(
        partitionsOf(excerpt.topic),
        (partitions) => partitions[excerpt.partition]?.read(excerpt) ?? { records: [], next: excerpt.offset }
      ),
    ranges: (topic) =>
      Effect.map(partitionsOf(topic), Array.map(({ end, partition, start }) => ({ partition, start, end }))),
    lag: (group) =>
      Effect.sync(() =>
        [...groups.get(group)?.holdings ?? []].map(({ committed, partition, topic }) => {
          const source = topics.get(topic)?.[partition]
          const { end, start } = source ?? { end: committed, start: committed }
          return { topic, partition, committed, end, lag: Math.max(0, end - Math.max(committed, start)) }
        })
      )
  })
  return { log, endLeases: (group) => Effect.sync(() => groups.get(group)?.endLeases()) }
}

export const layer = (options?: EventLogMemoryOptions): Layer.Layer<EventLog> =>
  Layer.sync(EventLog, () => make(options).log)
