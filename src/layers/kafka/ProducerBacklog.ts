/**
 * What waits to be published, and how it is cut into rounds. A round is what is sent at once: at most one batch for each
 * partition. The next round is cut when the last one is settled, so that what arrives meanwhile travels together, and
 * the order of arrival is the order in each partition.
 */
import type { NewRecord } from "../../messaging/EventLog.ts"
import { recordSize } from "../../messaging/RecordSize.ts"

/** A record and where it goes. */
export interface Located {
  readonly record: NewRecord
  readonly partition: number
}

/** Records that somebody publishes together. */
export interface Publication<E> {
  readonly records: ReadonlyArray<Located>
  /** Milliseconds since the epoch. */
  readonly arrivedAt: number
  /** Called once: without an error when the last record is acknowledged, with one when any is given up. */
  readonly settle: (error: E | undefined) => void
}

interface Waiting<E> {
  readonly publication: Publication<E>
  /** Records that are in this round or an earlier one. */
  taken: number
  acknowledged: number
}

/** Records for one partition, and whom to tell. */
export interface Batch<E> {
  readonly topic: string
  readonly partition: number
  readonly records: ReadonlyArray<NewRecord>
  readonly shares: ReadonlyMap<Waiting<E>, number>
}

export interface BacklogLimits {
  /** Bytes of a batch. A record that is larger than that makes a batch of its own. */
  readonly maxBatchBytes: number
  /** Bytes of a round. */
  readonly maxRoundBytes: number
}

/**
 * The most bytes that a record takes in a batch: attributes, lengths and deltas as variable-length integers (Kafka's
 * protocol, "Record Batch").
 */
export const encodedSize = (record: NewRecord): number =>
  recordSize(record) + 36 + 10 * Object.keys(record.headers).length

export class ProducerBacklog<E> {
  readonly #limits: BacklogLimits
  /** For topics that take less than the limit. */
  readonly #topicLimits = new Map<string, number>()
  /** In order of arrival; what is wholly taken stays until it is settled. */
  readonly #waiting = new Set<Waiting<E>>()

  constructor(limits: BacklogLimits) {
    this.#limits = limits
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0
  }

  /** Returns how to withdraw what is not taken yet. */
  add(publication: Publication<E>): () => void {
    const waiting = { publication, taken: 0, acknowledged: 0 }
    this.#waiting.add(waiting)
    return () => this.#waiting.delete(waiting)
  }

  /** The next round; empty when nothing waits. */
  cut(): ReadonlyArray<Batch<E>> {
    const batches = new Map<
      string,
      Batch<E> & { readonly records: Array<NewRecord>; readonly shares: Map<Waiting<E>, number>; bytes: number }
    >()
    let roundBytes = 0
    for (const waiting of this.#waiting) {
      const { records } = waiting.publication
      while (waiting.taken < records.length) {
        const located = records[waiting.taken]
        if (located === undefined) break
        const { partition, record } = located
        const { topic } = record
        const size = encodedSize(record)
        const name = `${topic}/${partition}`
        const batch = batches.get(name) ??
          { topic, partition, records: [], shares: new Map<Waiting<E>, number>(), bytes: 0 }
        const isFull = batch.records.length > 0 && batch.bytes + size > this.#maxBatchBytes(topic)
        // Nobody overtakes: the round ends with the first record that does not fit.
        if (isFull || (roundBytes > 0 && roundBytes + size > this.#limits.maxRoundBytes)) return [...batches.values()]
        batch.records.push(record)
        batch.shares.set(waiting, (batch.shares.get(waiting) ?? 0) + 1)
        batch.bytes += size
        roundBytes += size
        batches.set(name, batch)
        waiting.taken++
      }
    }
    return [...batches.values()]
  }

  acknowledge({ shares }: Batch<E>): void {
    for (const [waiting, count] of shares) {
      waiting.acknowledged += count
      if (waiting.acknowledged === waiting.publication.records.length) this.#settle(waiting, undefined)
    }
  }

  /** Everything that is published together with a record of the batch is given up. */
  giveUp({ shares }: Batch<E>, error: E): void {
    for (const waiting of shares.keys()) this.#settle(waiting, error)
  }

  /** Gives up what has arrived before the given time, or all. */
  expire(arrivedBefore: number, error: E): void {
    for (const waiting of this.#waiting) {
      if (waiting.publication.arrivedAt < arrivedBefore) this.#settle(waiting, error)
    }
  }

  /** Batches of the topic are to be half as large as this one, which was refused for its size. */
  shrink({ records, topic }: Batch<E>): void {
    const bytes = records.reduce((sum, record) => sum + encodedSize(record), 0)
    this.#topicLimits.set(topic, Math.ceil(bytes / 2))
  }

  #maxBatchBytes(topic: string): number {
    return this.#topicLimits.get(topic) ?? this.#limits.maxBatchBytes
  }

  #settle(waiting: Waiting<E>, error: E | undefined): void {
    if (this.#waiting.delete(waiting)) waiting.publication.settle(error)
  }
}
