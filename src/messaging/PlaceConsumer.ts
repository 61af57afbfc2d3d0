/** Takes the records of one readable partition, has them settled, and commits what is done. */
import { Deferred, Effect, Latch, Semaphore } from "effect"
import type { Duration } from "effect"
import type { LogRecord, ReadablePartition } from "./EventLog.ts"
import { keepTrying } from "./KeepTrying.ts"
import * as KeyLanes from "./KeyLanes.ts"
import { LowWatermark } from "./LowWatermark.ts"
import { recordSize } from "./RecordSize.ts"
import type { Settled } from "./Settlement.ts"

export interface PlaceOptions {
  /** Bytes of records that are taken but not done. */
  readonly maxBufferedBytes: number
  readonly commitInterval: Duration.Input
  readonly drainTimeout: Duration.Input
  readonly settle: (record: LogRecord) => Effect.Effect<Settled>
  readonly onCommitted: (nextOffset: number) => void
  /** Done when no attempt is to begin any more. */
  readonly draining: Deferred.Deferred<void>
  /** Done when the partition, and so what comes along with it, is another's. */
  readonly lost: Deferred.Deferred<void>
}

/** What a record costs in memory beyond its own bytes, roughly. */
const recordOverhead = 512

/**
 * Works until interrupted; then finishes what has begun, as far as the time allows, and commits it. The rest is
 * delivered to whoever gets the partition next. Ends by itself when the partition is lost.
 */
export const run = Effect.fnUntraced(function*(partition: ReadablePartition, options: PlaceOptions) {
  const { draining, lost, maxBufferedBytes, onCommitted, settle } = options
  const watermark = new LowWatermark()
  const budget = yield* Semaphore.make(maxBufferedBytes)
  const progress = Latch.makeUnsafe(false)
  let { committed } = partition

  const costOf = (record: LogRecord) => Math.min(maxBufferedBytes, recordSize(record) + recordOverhead)

  const lanes = yield* KeyLanes.make(({ cost, record }: { readonly record: LogRecord; readonly cost: number }) =>
    Effect.flatMap(settle(record), (settled) => {
      if (settled === "given back") return Effect.void
      watermark.done(record.offset)
      progress.openUnsafe()
      return Effect.asVoid(budget.release(cost))
    })
  )

  const accept = (record: LogRecord) => {
    const cost = costOf(record)
    return Effect.flatMap(budget.take(cost), () => {
      watermark.delivered(record.offset)
      return lanes.add(record.key, { record, cost })
    })
  }
  const taking = Effect.flatMap(partition.take, (records) => Effect.forEach(records, accept, { discard: true }))

  const commit = Effect.suspend(() => {
    const { committable } = watermark
    if (committable === undefined || committable <= committed) return Effect.void
    return partition.commit(committable).pipe(
      Effect.catchTag("PartitionLost", Effect.succeed),
      keepTrying("An offset can't be committed; trying again"),
      Effect.flatMap((loss) => {
        if (loss !== undefined) return Effect.andThen(Deferred.succeed(lost, undefined), Effect.fail(loss))
        committed = committable
        onCommitted(committable)
        return Effect.void
      })
    )
  })
  const committing = Effect.suspend(() => {
    progress.closeUnsafe()
    return commit
  }).pipe(
    Effect.andThen(Effect.sleep(options.commitInterval)),
    Effect.andThen(progress.await)
  )

  const drain = Effect.suspend(() =>
    Deferred.isDoneUnsafe(lost) ? Effect.void : Deferred.succeed(draining, undefined).pipe(
      Effect.andThen(Effect.timeoutOption(lanes.drain, options.drainTimeout)),
      Effect.andThen(Effect.timeoutOption(commit, options.drainTimeout)),
      Effect.catch((error) => Effect.logInfo("What was done last will be delivered again", error))
    )
  )

  yield* Effect.raceAllFirst([Effect.forever(taking), Effect.forever(committing), lanes.join]).pipe(
    Effect.onInterrupt(() => drain),
    Effect.catchTag("PartitionLost", (error) => Effect.logInfo("Stopped working on a partition", error))
  )
}, Effect.scoped)
