import { Array, Effect, Latch } from "effect"
import type { Scope } from "effect"
import type { Excerpt, LogRecord, NewRecord, Subscription } from "./EventLog.ts"
import { defaultMaxBatchBytes, defaultMaxBatchRecords } from "./EventLog.ts"

/** One partition of `EventLogMemory`: the newest `capacity` records, and who waits for more. */
export class MemoryPartition {
  readonly topic: string
  readonly partition: number
  readonly #capacity: number
  readonly #records: Array<LogRecord> = []
  readonly #waiting = new Set<Latch.Latch>()
  #end = 0

  constructor(topic: string, partition: number, capacity: number) {
    this.topic = topic
    this.partition = partition
    this.#capacity = capacity
  }

  get start(): number {
    return this.#end - this.#records.length
  }

  get end(): number {
    return this.#end
  }

  append({ headers, key, value }: NewRecord, publishedAt: number): void {
    const { partition, topic } = this
    this.#records.push({ topic, partition, offset: this.#end++, key, value, headers, publishedAt })
    if (this.#records.length > this.#capacity) this.#records.shift()
    for (const latch of this.#waiting) latch.openUnsafe()
  }

  /** The `take` of a reader that starts at offset `from`. */
  reader(
    from: number,
    subscription: Subscription
  ): Effect.Effect<Effect.Effect<Array.NonEmptyReadonlyArray<LogRecord>>, never, Scope.Scope> {
    const arrived = Latch.makeUnsafe(false)
    let position = from
    const take: Effect.Effect<Array.NonEmptyReadonlyArray<LogRecord>> = Effect.suspend(() => {
      arrived.closeUnsafe()
      const batch = this.#read(position, subscription)
      if (!Array.isReadonlyArrayNonEmpty(batch)) return Effect.andThen(arrived.await, take)
      position = Array.lastNonEmpty(batch).offset + 1
      return Effect.succeed(batch)
    })
    return Effect.as(
      Effect.acquireRelease(
        Effect.sync(() => this.#waiting.add(arrived)),
        () => Effect.sync(() => this.#waiting.delete(arrived))
      ),
      take
    )
  }

  read(
    { maxBytes, maxRecords, offset }: Excerpt
  ): { readonly records: ReadonlyArray<LogRecord>; readonly next: number } {
    const records = this.#read(offset, { maxBatchBytes: maxBytes, maxBatchRecords: maxRecords })
    return { records, next: (records.at(-1)?.offset ?? offset - 1) + 1 }
  }

  #read(
    from: number,
    limits: Pick<Subscription, "maxBatchBytes" | "maxBatchRecords">
  ): ReadonlyArray<LogRecord> {
    const { maxBatchBytes = defaultMaxBatchBytes, maxBatchRecords = defaultMaxBatchRecords } = limits
    const index = Math.max(0, from - this.start)
    const batch: Array<LogRecord> = []
    let bytes = 0
    for (const record of this.#records.slice(index, index + maxBatchRecords)) {
      bytes += record.value.byteLength
      if (batch.length > 0 && bytes > maxBatchBytes) break
      batch.push(record)
    }
    return batch
  }
}
