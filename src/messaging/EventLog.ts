/**
 * A durable, partitioned log of records that several processes write and groups of processes read.
 *
 * The contract is the part that Apache Kafka and an event log inside a database can both keep:
 *
 * - A topic has a fixed number of partitions. Records of one key go to one partition (`Partitioner`), and a partition
 *   is read in the order in which it was acknowledged.
 * - Offsets grow along a partition, not necessarily by one (compaction, transaction markers and retention leave gaps).
 * - Each partition of a topic belongs to at most one member of a group at a time. Members that come, go or fall silent
 *   make the group share the partitions anew.
 * - What a group has handled is what it has committed. Everything after the committed offset is delivered again to the
 *   next owner: at least once, never lost.
 */
import type { Array, Effect, Scope } from "effect"
import { Context, Schema } from "effect"

export interface Topic {
  /** 1 to 249 of `A-Z a-z 0-9 . _ -`. */
  readonly name: string
  readonly partitions: number
  /** Where a log is set to give new topics another number of partitions, this one has its own all the same. */
  readonly isExact?: boolean | undefined
}

/** Text in keys and headers holds no NUL character. */
export interface NewRecord {
  readonly topic: string
  /** Records of one key stay in order. */
  readonly key: string
  readonly value: Uint8Array
  readonly headers: Readonly<Record<string, string>>
}

export interface LogRecord extends NewRecord {
  readonly partition: number
  readonly offset: number
  /** Milliseconds since the epoch, on the log's clock. */
  readonly publishedAt: number
}

export const defaultMaxBatchRecords = 500
export const defaultMaxBatchBytes = 1024 * 1024

export interface Subscription {
  readonly group: string
  readonly topics: ReadonlyArray<string>
  /** Where a group without a committed offset starts. `latest` is settled once, when the group first appears. */
  readonly from: "earliest" | "latest"
  /** A batch holds at most this many records. Default 500. */
  readonly maxBatchRecords?: number | undefined
  /** A batch holds at most this many bytes of values, but always one record. Default 1 MiB. */
  readonly maxBatchBytes?: number | undefined
}

/** A partition that this member may read and commit. */
export interface ReadablePartition {
  readonly topic: string
  readonly partition: number
  /** Where `take` begins. */
  readonly committed: number
  /**
   * The next records of the partition, each record once per assignment, starting after the committed offset. Waits
   * while there are none and while the log is away. What is read ahead of the caller is bounded: less than a batch, and
   * one answer of the log on top.
   */
  readonly take: Effect.Effect<Array.NonEmptyReadonlyArray<LogRecord>>
  /**
   * Records that everything before `nextOffset` is done; it never moves back. Fails with `PartitionLost` once the
   * partition may belong to somebody else.
   */
  readonly commit: (nextOffset: number) => Effect.Effect<void, PartitionLost | EventLogUnavailable>
}

/** A partition that comes along with another. */
export interface CompanionPartition extends ReadablePartition {
  /** Where the partition ended when it was opened. */
  readonly end: number
}

/** A partition while it belongs to this member. */
export interface AssignedPartition extends ReadablePartition {
  /**
   * The partitions of the same number in other topics, as companions: whoever holds this one, and nobody else of the
   * group, reads and commits those. So what one topic's records lead to in another needs no agreement among members.
   * A group without a committed offset starts at the earliest. They are read for as long as the scope is open.
   */
  readonly companions: (
    topics: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<CompanionPartition>, UnknownTopic | EventLogUnavailable, Scope.Scope>
}

/** Where to begin reading without a group, and how much to bring. */
export interface Excerpt {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Default 500. */
  readonly maxRecords?: number | undefined
  /** Bytes of values, but always one record. Default 1 MiB. */
  readonly maxBytes?: number | undefined
}

/** The readable part of a partition: `[start, end)`. */
export interface PartitionRange {
  readonly partition: number
  readonly start: number
  readonly end: number
}

export interface PartitionLag {
  readonly topic: string
  readonly partition: number
  /** The offset that the group reads next. */
  readonly committed: number
  readonly end: number
  /** An upper bound of the records that are not yet handled: offsets between `committed` and `end`. */
  readonly lag: number
}

export class EventLog extends Context.Service<EventLog, {
  /** Creates the topics that are missing. A topic that exists keeps its partitions: changing them would break order. */
  readonly ensureTopics: (topics: ReadonlyArray<Topic>) => Effect.Effect<void, EventLogUnavailable>
  /**
   * Succeeds when all records are durable, in the order given per partition. After a failure any part of the batch may
   * have been written, or may yet be: who publishes again publishes at least once. Waits while too much is under way.
   */
  readonly publish: (
    records: ReadonlyArray<NewRecord>
  ) => Effect.Effect<void, EventLogUnavailable | UnknownTopic | RecordTooLarge>
  /**
   * Joins the group and runs `onAssigned` for each partition while it belongs to this member; interrupting the effect
   * leaves the group.
   *
   * When the group gives a partition to somebody else, and when this member leaves, the partition's handler is
   * interrupted. An adapter that can keeps the partition until the handler's finalizers have run, so that they may
   * finish and commit what is in flight. One subscription never handles a partition twice at once.
   *
   * The adapter keeps the membership alive by itself, however long a handler works. Outages are waited out.
   */
  readonly subscribe: <R>(
    subscription: Subscription,
    onAssigned: (partition: AssignedPartition) => Effect.Effect<void, never, R>
  ) => Effect.Effect<never, UnknownTopic, R>
  /**
   * Records from an offset on, for who belongs to no group: none where there is none yet, as it does not wait. `next` is
   * where to go on. What retention has removed is passed over.
   */
  readonly read: (
    excerpt: Excerpt
  ) => Effect.Effect<
    { readonly records: ReadonlyArray<LogRecord>; readonly next: number },
    EventLogUnavailable | UnknownTopic
  >
  readonly ranges: (topic: string) => Effect.Effect<ReadonlyArray<PartitionRange>, EventLogUnavailable | UnknownTopic>
  /** Each partition that the group has an offset of; empty for a group that never subscribed. */
  readonly lag: (group: string) => Effect.Effect<ReadonlyArray<PartitionLag>, EventLogUnavailable>
}>()("maas/messaging/EventLog") {}

/** The log can't be reached or refused for a reason of its own; the same call may succeed later. */
export class EventLogUnavailable extends Schema.TaggedError<EventLogUnavailable>()("EventLogUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The event log is unavailable (${this.operation})`
  }
}

export class UnknownTopic extends Schema.TaggedError<UnknownTopic>()("UnknownTopic", { topic: Schema.String }) {
  override get message() {
    return `Topic ${this.topic} does not exist`
  }
}

/** Sizes in bytes: key, value and headers together. */
export class RecordTooLarge extends Schema.TaggedError<RecordTooLarge>()("RecordTooLarge", {
  topic: Schema.String,
  key: Schema.String,
  size: Schema.Int,
  limit: Schema.Int
}) {
  override get message() {
    return `A record of ${this.size} bytes for topic ${this.topic} exceeds the limit of ${this.limit}`
  }
}

/** The partition no longer belongs to this member; what it did not commit will be delivered to the next owner. */
export class PartitionLost extends Schema.TaggedError<PartitionLost>()("PartitionLost", {
  group: Schema.String,
  topic: Schema.String,
  partition: Schema.Int
}) {
  override get message() {
    return `Group ${this.group} has taken partition ${this.topic}/${this.partition} from this member`
  }
}
