/** What a producer says to brokers, and hears from them. */
import { Duration, Effect } from "effect"
import type { Message } from "kafkajs/src/protocol/requests/index.js"
import type { KafkaClient } from "./KafkaClient.ts"
import type { Address } from "./KafkaConnection.ts"
import { checked, KafkaFailure, ofCode } from "./KafkaFailure.ts"

/** What a broker recognises a producer by. */
export interface ProducerIdentity {
  readonly producerId: string
  readonly producerEpoch: number
}

/** Records for one partition, with the sequence number of the first. */
export interface NumberedBatch {
  readonly topic: string
  readonly partition: number
  readonly firstSequence: number
  readonly messages: ReadonlyArray<Message>
}

export interface ProduceRequests extends Pick<KafkaClient, "leaders" | "forgetLeaders"> {
  readonly identify: Effect.Effect<ProducerIdentity, KafkaFailure>
  /** Sends batches to one broker. Answers what became of each: `undefined` when it is written. */
  readonly produce: <B extends NumberedBatch>(
    leader: Address,
    identity: ProducerIdentity,
    batches: ReadonlyArray<B>
  ) => Effect.Effect<ReadonlyArray<readonly [B, KafkaFailure | undefined]>, KafkaFailure>
}

/** Every replica in sync has the records. */
const acksAll = -1
const codecs = { none: 0, gzip: 1 }
export type Compression = keyof typeof codecs

/** `client` should be the producer's own: brokers answer a connection's requests in turn. */
export const make = (client: KafkaClient, compression: Compression): ProduceRequests => ({
  leaders: client.leaders,
  forgetLeaders: client.forgetLeaders,
  identify: Effect.flatMap(client.askAny("InitProducerId", { transactionTimeout: 60_000 }), checked),
  produce: Effect.fnUntraced(function*(leader, { producerEpoch, producerId }, batches) {
    const byTopic = Map.groupBy(batches, ({ topic }) => topic)
    const { topics } = yield* client.ask(leader, "Produce", {
      acks: acksAll,
      timeout: Duration.toMillis(client.requestTimeout),
      compression: codecs[compression],
      producerId,
      producerEpoch,
      topicData: [...byTopic].map(([topic, partitions]) => ({ topic, partitions }))
    })
    const codes = new Map(
      topics.flatMap(({ partitions, topicName }) =>
        partitions.map(({ errorCode, partition }) => [`${topicName}/${partition}`, errorCode])
      )
    )
    return batches.map((batch) => {
      const code = codes.get(`${batch.topic}/${batch.partition}`)
      return [
        batch,
        code === undefined ? new KafkaFailure({ code: "UNKNOWN", cause: "it was not answered" }) : ofCode(code)
      ]
    })
  })
})
