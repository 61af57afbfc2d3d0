/** Positions: where partitions begin and end, and how far groups are. */
import { Effect } from "effect"
import type { Apis } from "kafkajs/src/protocol/requests/index.js"
import type { PartitionLag, PartitionRange } from "../../messaging/EventLog.ts"
import type { KafkaClient } from "./KafkaClient.ts"
import { afterElections, checked, isMisdirected, KafkaFailure, ofCode } from "./KafkaFailure.ts"

/** What `ListOffsets` takes for a time. */
const sides = { start: -2, end: -1 }

interface Position {
  readonly topic: string
  readonly partition: number
}

interface Committed extends Position {
  /** `undefined` when the group has committed nothing there. */
  readonly offset: number | undefined
}

export interface KafkaOffsets {
  readonly side: (topic: string, side: keyof typeof sides) => Effect.Effect<ReadonlyMap<number, number>, KafkaFailure>
  readonly ranges: (topic: string) => Effect.Effect<ReadonlyArray<PartitionRange>, KafkaFailure>
  /** Of the given partitions, or of all that the group has an offset of. */
  readonly committed: (
    group: string,
    partitions?: ReadonlyArray<Position>
  ) => Effect.Effect<ReadonlyArray<Committed>, KafkaFailure>
  readonly lag: (group: string) => Effect.Effect<ReadonlyArray<PartitionLag>, KafkaFailure>
}

const inOrder = (a: Position, b: Position): number =>
  a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : a.partition - b.partition

const byTopic = (positions: ReadonlyArray<Position>) =>
  [...Map.groupBy(positions, ({ topic }) => topic)].map(([topic, partitions]) => ({ topic, partitions }))

export const make = (client: KafkaClient): KafkaOffsets => {
  const side: KafkaOffsets["side"] = Effect.fnUntraced(function*(topic, which) {
    const leaders = yield* client.leaders(topic)
    const groups = Map.groupBy(leaders.keys(), (partition) => leaders[partition])
    const asked = yield* Effect.forEach(groups, ([leader, partitions]) => {
      if (leader === undefined) {
        return new KafkaFailure({ code: "LEADER_NOT_AVAILABLE", cause: `${topic}/${partitions.join()}` })
      }
      const wanted = partitions.map((partition) => ({ partition, timestamp: sides[which] }))
      return client.ask(leader, "ListOffsets", { topics: [{ topic, partitions: wanted }] })
    }, { concurrency: "unbounded" })
    const offsets = new Map<number, number>()
    for (const { errorCode, offset, partition } of partitionsOf(asked)) {
      yield* checked({ errorCode })
      offsets.set(partition, Number(offset))
    }
    return offsets
  }, (effect, topic) =>
    afterElections(Effect.tapError(effect, (failure) =>
      Effect.sync(() => {
        if (isMisdirected(failure)) client.forgetLeaders(topic)
      }))))

  const ranges: KafkaOffsets["ranges"] = Effect.fnUntraced(function*(topic) {
    const [starts, ends] = yield* Effect.all([side(topic, "start"), side(topic, "end")])
    return [...ends].toSorted(([a], [b]) => a - b).map(([partition, end]) => ({
      partition,
      start: starts.get(partition) ?? 0,
      end
    }))
  })

  const committed: KafkaOffsets["committed"] = Effect.fnUntraced(function*(groupId, positions = []) {
    const address = yield* client.coordinator(groupId)
    const response = yield* client.ask(address, "OffsetFetch", { groupId, topics: byTopic(positions) })
    const failure = ofCode(response.errorCode)
    if (failure?.code === "GROUP_ID_NOT_FOUND") return []
    yield* checked(response)
    const found: Array<Committed> = []
    for (const { partitions, topic } of response.responses) {
      for (const { errorCode, offset, partition } of partitions) {
        yield* checked({ errorCode })
        found.push({ topic, partition, offset: Number(offset) < 0 ? undefined : Number(offset) })
      }
    }
    return found
  }, afterElections)

  const lag: KafkaOffsets["lag"] = Effect.fnUntraced(function*(group) {
    const known = yield* committed(group)
    const lags: Array<PartitionLag> = []
    for (const [topic, positions] of Map.groupBy(known.toSorted(inOrder), ({ topic }) => topic)) {
      const ends = new Map((yield* ranges(topic)).map((range) => [range.partition, range]))
      for (const { offset, partition } of positions) {
        const range = ends.get(partition)
        if (offset === undefined || range === undefined) continue
        const { end, start } = range
        lags.push({ topic, partition, committed: offset, end, lag: Math.max(0, end - Math.max(offset, start)) })
      }
    }
    return lags
  })

  return { side, ranges, committed, lag }
}

const partitionsOf = (responses: ReadonlyArray<Apis["ListOffsets"]["response"]>) =>
  responses.flatMap(({ responses }) => responses.flatMap(({ partitions }) => partitions))
