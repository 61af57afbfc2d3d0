/** Single reads by who belongs to no group. */
import { Duration, Effect } from "effect"
import { defaultMaxBatchBytes, defaultMaxBatchRecords } from "../../messaging/EventLog.ts"
import type { Excerpt, LogRecord } from "../../messaging/EventLog.ts"
import * as FetchedRecords from "./FetchedRecords.ts"
import type { KafkaClient } from "./KafkaClient.ts"
import { afterElections, checked, isMisdirected, KafkaFailure, ofCode } from "./KafkaFailure.ts"
import type { KafkaOffsets } from "./KafkaOffsets.ts"

interface Read {
  readonly records: ReadonlyArray<LogRecord>
  readonly next: number
}

export const make = (client: KafkaClient, offsets: KafkaOffsets) => {
  const fetch = Effect.fnUntraced(function*(excerpt: Excerpt) {
    const { maxBytes = defaultMaxBatchBytes, maxRecords = defaultMaxBatchRecords, offset, partition, topic } = excerpt
    const leader = (yield* client.leaders(topic))[partition]
    if (leader === undefined) {
      return yield* new KafkaFailure({ code: "LEADER_NOT_AVAILABLE", cause: `${topic}/${partition}` })
    }
    const response = yield* Effect.flatMap(
      client.ask(leader, "Fetch", {
        maxWaitTime: 0,
        minBytes: 1,
        maxBytes,
        rackId: "",
        topics: [{ topic, partitions: [{ partition, fetchOffset: offset, maxBytes }] }]
      }, Duration.zero),
      checked
    )
    const [result] = response.responses.flatMap(({ partitions }) => partitions)
    if (result === undefined) return { records: [], next: offset }
    const failure = ofCode(result.errorCode)
    if (failure !== undefined) return yield* failure
    const { next, records } = FetchedRecords.read(topic, offset, result)
    const batch = FetchedRecords.firstBatch(records, maxRecords, maxBytes)
    return { records: batch, next: batch.length < records.length ? (batch.at(-1)?.offset ?? next - 1) + 1 : next }
  })

  /** Retention has removed what was asked for; beyond the end there is nothing. */
  const relocated = Effect.fnUntraced(function*(excerpt: Excerpt) {
    const start = (yield* offsets.side(excerpt.topic, "start")).get(excerpt.partition) ?? 0
    return excerpt.offset < start
      ? yield* fetch({ ...excerpt, offset: start })
      : { records: [], next: excerpt.offset }
  })

  return (excerpt: Excerpt): Effect.Effect<Read, KafkaFailure> =>
    fetch(excerpt).pipe(
      Effect.catchIf(({ code }) => code === "OFFSET_OUT_OF_RANGE", () => relocated(excerpt)),
      Effect.tapError((failure) =>
        Effect.sync(() => {
          if (isMisdirected(failure)) client.forgetLeaders(excerpt.topic)
        })
      ),
      afterElections
    )
}
