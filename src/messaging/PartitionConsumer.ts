/** What a consumer does with one partition, and what comes along with it, while it belongs to this process. */
import { Deferred, Effect, Latch } from "effect"
import type { Duration } from "effect"
import * as DeadLetter from "./DeadLetter.ts"
import type { AssignedPartition, CompanionPartition, EventLog, LogRecord, ReadablePartition } from "./EventLog.ts"
import { HeldKeys } from "./HeldKeys.ts"
import { keepTrying } from "./KeepTrying.ts"
import * as PlaceConsumer from "./PlaceConsumer.ts"
import * as RetryTopics from "./RetryTopics.ts"
import * as Settlement from "./Settlement.ts"

export interface PartitionConsumerOptions extends Settlement.SettlementOptions {
  /** Bytes of records that are taken but not done. */
  readonly maxBufferedBytes: number
  readonly commitInterval: Duration.Input
  readonly drainTimeout: Duration.Input
}

/** Retry topics and dead letters need little memory, for what they hold waits in the log as well. */
const companionShare = 4

/** Hears what an earlier owner has put into a companion and nobody has settled. */
const recall = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  { committed, end, partition, topic }: CompanionPartition,
  hear: (record: LogRecord) => void
) {
  for (let offset = committed; offset < end;) {
    const { next, records } = yield* log.read({ topic, partition, offset }).pipe(
      keepTrying("What waits to be tried again can't be read; trying again")
    )
    records.forEach(hear)
    // What retention has removed is not there to be read, however often it is asked for.
    if (next === offset) return
    offset = next
  }
})

/** How far the places have come; whoever waits is woken when one has moved. */
const makeProgress = (places: ReadonlyArray<ReadablePartition>) => {
  const committed = places.map((place) => place.committed)
  const seen = places.map((place) => place.committed)
  let moved = Latch.makeUnsafe(false)
  return {
    see: (place: number, { offset }: LogRecord) => {
      seen[place] = Math.max(seen[place] ?? 0, offset + 1)
    },
    /** The offset in each place that is after all records that this owner or the one before has read there. */
    seen: (): ReadonlyArray<number> => [...seen],
    reach: (place: number) => (nextOffset: number) => {
      committed[place] = nextOffset
      const reached = moved
      // Before who waits goes on, which may be at once: it looks for the next one.
      moved = Latch.makeUnsafe(false)
      reached.openUnsafe()
    },
    hasReached: (offsets: ReadonlyArray<number>) => offsets.every((offset, place) => (committed[place] ?? 0) >= offset),
    /** Opens with the next move from now on. */
    get moved() {
      return moved
    }
  }
}

/** Works until interrupted, and then gives back what has not begun. Ends by itself when the partition is lost. */
export const run = Effect.fnUntraced(function*(
  log: EventLog["Service"],
  options: PartitionConsumerOptions,
  partition: AssignedPartition
) {
  const { group, maxBufferedBytes, retries } = options
  const { topic } = partition
  const memory: Settlement.Memory = { held: new HeldKeys(), buried: new Set() }
  const draining = yield* Deferred.make<void>()
  const lost = yield* Deferred.make<void>()
  const settle = Settlement.make(log, options, memory, draining)

  const retryTopics = RetryTopics.topicsOf(topic, retries.places)
  const [letters, ...waiting] = yield* partition.companions([DeadLetter.deadLetterTopic(topic), ...retryTopics]).pipe(
    keepTrying("The retry topics can't be opened; trying again")
  )
  if (letters === undefined) return
  const progress = makeProgress([partition, ...waiting])

  const readAt = (place: number) => (record: LogRecord) => RetryTopics.read(group, topic, place, record)

  yield* recall(log, letters, (letter) => {
    const offset = DeadLetter.messageOffset(group, partition, letter)
    if (offset !== undefined) memory.buried.add(offset)
  })
  for (const [index, companion] of waiting.entries()) {
    yield* recall(log, companion, (record) => {
      progress.see(index + 1, record)
      const message = readAt(index + 1)(record)
      // What is buried waits for nothing any more: who was put behind it would be behind it for ever.
      if (message === undefined || memory.buried.has(message.record.offset)) return
      const { hops, place, record: { key, offset } } = message
      const known = memory.held.find(key, offset)
      if (known === undefined || known.hops < hops) memory.held.put(key, offset, { place, hops })
    })
  }

  /**
   * A dead letter is remembered until no copy of its message can be delivered again. They were all read before it was
   * written, here or by an earlier owner: it is enough that each place has committed what was seen there by now.
   */
  const settleLetter = Effect.fnUntraced(function*(letter: LogRecord): Effect.fn.Return<Settlement.Settled> {
    const offset = DeadLetter.messageOffset(group, partition, letter)
    if (offset === undefined) return "done"
    const [, ...seen] = progress.seen()
    while (!progress.hasReached([offset + 1, ...seen])) {
      const isDraining = yield* Effect.raceFirst(
        Effect.as(progress.moved.await, false),
        Effect.as(Deferred.await(draining), true)
      )
      if (isDraining) return "given back"
    }
    memory.buried.delete(offset)
    return "done"
  })

  const common = { ...options, draining, lost }
  const aside = { ...common, maxBufferedBytes: Math.ceil(maxBufferedBytes / companionShare) }
  yield* Effect.raceAllFirst([
    PlaceConsumer.run(partition, {
      ...common,
      settle: (record) => settle(RetryTopics.inOwnTopic(record)),
      onCommitted: progress.reach(0)
    }),
    PlaceConsumer.run(letters, { ...aside, settle: settleLetter, onCommitted: () => undefined }),
    ...waiting.map((companion, index) =>
      PlaceConsumer.run(companion, {
        ...aside,
        settle: (record) => {
          progress.see(index + 1, record)
          const message = readAt(index + 1)(record)
          return message === undefined ? Effect.succeed("done") : settle(message)
        },
        onCommitted: progress.reach(index + 1)
      })
    )
  ])
}, Effect.scoped)
