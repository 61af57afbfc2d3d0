/** What a consumer does with one partition while it belongs to this process. */
import { Deferred, Effect, Latch, Semaphore } from "effect"
import type { Duration } from "effect"
import type { AssignedPartition, EventLog, LogRecord } from "./EventLog.ts"
import { keepTrying } from "./KeepTrying.ts"
import * as KeyLanes from "./KeyLanes.ts"
import { LowWatermark } from "./LowWatermark.ts"
import { recordSize } from "./RecordSize.ts"
import * as Settlement from "./Settlement.ts"

export interface PartitionConsumerOptions extends Settlement.SettlementOptions {
  /** Bytes of records that are taken but not done. */
  readonly maxBufferedBytes: number
  readonly commitInterval: Duration.Input
  readonly drainTimeout: Duration.Input
}

/** What a record costs in memory beyond its own bytes, roughly. */
const recordOverhead = 512

/**
 * Works until interrupted; then finishes what has begun, as far as the time allows, and commits it. The rest is
 * delivered to whoever gets the partition next. Ends by itself when the partition is lost.
 */
export const run = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  options: PartitionConsumerOptions,
  partition: AssignedPartition
) {
  const { maxBufferedBytes } = options
  const watermark = new LowWatermark()
  const budget = yield* Semaphore.make(maxBufferedBytes)
  const progress = Latch.makeUnsafe(false)
  const draining = yield* Deferred.make<void>()
  const settle = Settlement.make(log, options, draining)
  let committed = -1

  const costOf = (record: LogRecord) => Math.min(maxBufferedBytes, recordSize(record) + recordOverhead)

  const lanes = yield* KeyLanes.make((record: LogRecord) =>
    Effect.flatMap(settle(record), (settled) => {
      if (settled === "given back") return Effect.void
      watermark.done(record.offset)
      progress.openUnsafe()
      return Effect.asVoid(budget.release(costOf(record)))
    })
  )

  const accept = (record: LogRecord) =>
    Effect.flatMap(budget.take(costOf(record)), () => {
      watermark.delivered(record.offset)
      return lanes.add(record.key, record)
    })
  const taking = Effect.flatMap(partition.take, (records) => Effect.forEach(records, accept, { discard: true }))

  const commit = Effect.suspend(() => {
    const { committable } = watermark
    if (committable === undefined || committable <= committed) return Effect.void
    return partition.commit(committable).pipe(
      Effect.catchTag("PartitionLost", Effect.succeed),
      keepTrying("An offset can't be committed; trying again"),
      Effect.flatMap((lost) => {
        if (lost !== undefined) return Effect.fail(lost)
        committed = committable
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

  const drain = Deferred.succeed(draining, undefined).pipe(
    Effect.andThen(Effect.timeoutOption(lanes.drain, options.drainTimeout)),
    Effect.andThen(Effect.timeoutOption(commit, options.drainTimeout)),
    Effect.catch((error) => Effect.logInfo("What was done last will be delivered again", error))
  )

  yield* Effect.raceAllFirst([Effect.forever(taking), Effect.forever(committing), lanes.join]).pipe(
    Effect.onInterrupt(() => drain),
    Effect.catchTag("PartitionLost", (error) => Effect.logInfo("Stopped working on a partition", error))
  )
}, Effect.scoped)
