/**
 * Reads the partitions that a member holds. For each broker that leads some of them there is one request under way,
 * which the broker answers as soon as there is something. A partition whose reader has enough is left out of the
 * requests until it has not.
 */
import { Array, Duration, Effect, FiberMap, Latch } from "effect"
import type { Scope } from "effect"
import { defaultMaxBatchBytes, defaultMaxBatchRecords } from "../../messaging/EventLog.ts"
import type { AssignedPartition, LogRecord, Subscription } from "../../messaging/EventLog.ts"
import { keepTrying } from "../../messaging/KeepTrying.ts"
import * as FetchedRecords from "./FetchedRecords.ts"
import type { KafkaClient } from "./KafkaClient.ts"
import type { Address } from "./KafkaConnection.ts"
import { checked, isMisdirected, KafkaFailure, ofCode } from "./KafkaFailure.ts"
import type { KafkaOffsets } from "./KafkaOffsets.ts"

export interface KafkaFetcher {
  /** The `take` of a reader that starts at offset `from`; read for as long as the scope is open. */
  readonly open: (
    topic: string,
    partition: number,
    from: number
  ) => Effect.Effect<AssignedPartition["take"], never, Scope.Scope>
}

/** A partition that is read. */
interface Source {
  readonly topic: string
  readonly partition: number
  position: number
  /** Fetched and not taken. */
  buffer: ReadonlyArray<LogRecord>
  leader: Address | undefined
  readonly arrived: Latch.Latch
  /** Opens when the leader must be looked up. */
  readonly lost: Latch.Latch
}

/** How long a broker waits for records before it answers that there are none. */
const longestWait = Duration.millis(500)
/** While a partition is left out the others are asked for briefly, so that it is soon among them again. */
const shortestWait = Duration.millis(10)
/** Bytes of one answer, over all partitions. */
const maxResponseBytes = 16 * 1024 * 1024
/** Before a leader that failed is looked up: elections take a moment. */
const pause = Duration.millis(100)

/** `client` should serve nothing else: brokers answer a connection's requests in turn. */
export const make = Effect.fnUntraced(function*(
  client: KafkaClient,
  offsets: KafkaOffsets,
  { maxBatchBytes = defaultMaxBatchBytes, maxBatchRecords = defaultMaxBatchRecords }: Pick<
    Subscription,
    "maxBatchBytes" | "maxBatchRecords"
  >
): Effect.fn.Return<KafkaFetcher, never, Scope.Scope> {
  const sources = new Set<Source>()
  const readers = yield* FiberMap.make<Address>()
  const wanted = new Map<Address, Latch.Latch>()

  /** Less than a batch is waiting to be taken. */
  const isHungry = ({ buffer }: Source): boolean =>
    buffer.length < maxBatchRecords && buffer.reduce((sum, { value }) => sum + value.byteLength, 0) < maxBatchBytes

  const lose = (source: Source) => {
    source.leader = undefined
    client.forgetLeaders(source.topic)
    source.lost.openUnsafe()
  }

  const request = (hungry: ReadonlyArray<Source>, wait: Duration.Duration) => ({
    maxWaitTime: Duration.toMillis(wait),
    minBytes: 1,
    maxBytes: maxResponseBytes,
    rackId: "",
    topics: [...Map.groupBy(hungry, ({ topic }) => topic)].map(([topic, all]) => ({
      topic,
      partitions: all.map(({ partition, position }) => ({ partition, fetchOffset: position, maxBytes: maxBatchBytes }))
    }))
  })

  /** Retention has deleted what was to be read next, or a leader has lost what it had acknowledged. */
  const relocate = Effect.fnUntraced(function*(source: Source) {
    const { partition, position, topic } = source
    const start = (yield* offsets.side(topic, "start")).get(partition) ?? 0
    const end = (yield* offsets.side(topic, "end")).get(partition) ?? 0
    source.position = position < start ? start : end
    yield* Effect.logError(`Offset ${position} of ${topic}/${partition} is gone; reading on at ${source.position}`)
  })

  const fetch = Effect.fnUntraced(function*(leader: Address, hungry: ReadonlyArray<Source>, wait: Duration.Duration) {
    const response = yield* Effect.flatMap(client.ask(leader, "Fetch", request(hungry, wait), wait), checked)
    const fetched = new Map(
      response.responses.flatMap(({ partitions, topicName }) =>
        partitions.map((one) => [`${topicName}/${one.partition}`, one])
      )
    )
    for (const source of hungry) {
      const { partition, topic } = source
      const result = fetched.get(`${topic}/${partition}`)
      if (result === undefined || !sources.has(source)) continue
      const failure = ofCode(result.errorCode)
      if (failure?.code === "OFFSET_OUT_OF_RANGE") {
        yield* relocate(source)
      } else if (failure !== undefined) {
        if (!isMisdirected(failure)) yield* Effect.logWarning(`${topic}/${partition} can't be read now`, failure)
        lose(source)
      } else {
        const { next, records } = FetchedRecords.read(topic, source.position, result)
        source.position = next
        source.buffer = [...source.buffer, ...records]
        if (records.length > 0) source.arrived.openUnsafe()
      }
    }
  })

  /** Reads whatever the broker leads. */
  const read = (leader: Address, isWanted: Latch.Latch) =>
    Effect.gen(function*() {
      let wait = shortestWait
      let wasComplete = false
      while (true) {
        const led = [...sources].filter((source) => source.leader === leader)
        const hungry = led.filter(isHungry)
        const isComplete = hungry.length === led.length
        // Somebody was not in the last request, or is not in this one, who may want to be in the next.
        if (isWanted.isOpen() || (wasComplete && !isComplete)) wait = shortestWait
        wasComplete = isComplete
        isWanted.closeUnsafe()
        if (hungry.length === 0) {
          yield* isWanted.await
          continue
        }
        yield* fetch(leader, hungry, wait).pipe(
          Effect.catch((failure) => {
            hungry.forEach(lose)
            return Effect.logDebug("A broker did not answer a fetch; looking for the leaders anew", failure)
          })
        )
        wait = Duration.min(Duration.times(wait, 2), longestWait)
      }
    })

  const assign = (source: Source, leader: Address) =>
    Effect.suspend(() => {
      source.leader = leader
      const isWanted = wanted.get(leader) ?? Latch.makeUnsafe(false)
      wanted.set(leader, isWanted)
      isWanted.openUnsafe()
      return FiberMap.run(readers, leader, read(leader, isWanted), { onlyIfMissing: true })
    })

  /** Keeps the partition assigned to the reader of its leader. */
  const follow = (source: Source) =>
    Effect.forever(Effect.gen(function*() {
      source.lost.closeUnsafe()
      const leader = yield* client.leaders(source.topic).pipe(
        Effect.flatMap((leaders) => {
          const leader = leaders[source.partition]
          if (leader !== undefined) return Effect.succeed(leader)
          client.forgetLeaders(source.topic)
          return new KafkaFailure({ code: "LEADER_NOT_AVAILABLE", cause: `${source.topic}/${source.partition}` })
        }),
        keepTrying("The event log can't be read; trying again")
      )
      yield* assign(source, leader)
      yield* source.lost.await
      yield* Effect.sleep(pause)
    }))

  return {
    open: Effect.fnUntraced(function*(topic, partition, from) {
      const source = yield* Effect.acquireRelease(
        Effect.sync(() => {
          const source: Source = {
            topic,
            partition,
            position: from,
            buffer: [],
            leader: undefined,
            arrived: Latch.makeUnsafe(false),
            lost: Latch.makeUnsafe(false)
          }
          sources.add(source)
          return source
        }),
        (source) => Effect.sync(() => sources.delete(source))
      )
      yield* Effect.forkScoped(follow(source))

      const take: AssignedPartition["take"] = Effect.suspend(() => {
        const batch = FetchedRecords.firstBatch(source.buffer, maxBatchRecords, maxBatchBytes)
        if (!Array.isReadonlyArrayNonEmpty(batch)) {
          source.arrived.closeUnsafe()
          return Effect.andThen(source.arrived.await, take)
        }
        const wasLeftOut = !isHungry(source)
        source.buffer = source.buffer.slice(batch.length)
        if (wasLeftOut && source.leader !== undefined) wanted.get(source.leader)?.openUnsafe()
        return Effect.succeed(batch)
      })
      // @effect-diagnostics-next-line returnEffectInGen:off
      return take
    })
  }
})
