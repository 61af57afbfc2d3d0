/** The brokers of a cluster as one party to talk to: who leads what is found, remembered, and found again. */
import { Array, Duration, Effect, RcMap } from "effect"
import type { Scope } from "effect"
import type { Api, Apis } from "kafkajs/src/protocol/requests/index.js"
import type { Address, ConnectionSettings } from "./KafkaConnection.ts"
import * as KafkaConnection from "./KafkaConnection.ts"
import { checked, connectionLost, KafkaFailure, ofCode } from "./KafkaFailure.ts"

export interface KafkaClientOptions extends Pick<ConnectionSettings, "tls" | "sasl"> {
  /** Some brokers of the cluster as `host:port`; the others are learned from them. */
  readonly brokers: Array.NonEmptyReadonlyArray<Address>
  /** What brokers call this program in their logs and quotas. Default `maas`. */
  readonly clientId?: string | undefined
  /** How long a broker may take to accept a connection. Default 3 seconds. */
  readonly connectTimeout?: Duration.Input | undefined
  /** How long a broker may take to answer, beyond what a request tells it to wait. Default 10 seconds. */
  readonly requestTimeout?: Duration.Input | undefined
}

type Response<K extends Api> = Effect.Effect<Apis[K]["response"], KafkaFailure>

export interface KafkaClient {
  readonly requestTimeout: Duration.Duration
  /** Asks one broker, over one connection that all requests to it share: it answers them in turn. */
  readonly ask: <K extends Api>(
    address: Address,
    api: K,
    options: Apis[K]["request"],
    wait?: Duration.Duration
  ) => Response<K>
  /** Asks any broker that can be reached. */
  readonly askAny: <K extends Api>(api: K, options: Apis[K]["request"]) => Response<K>
  /** The leaders of a topic's partitions, by partition number; `undefined` for one that has none at present. */
  readonly leaders: (topic: string) => Effect.Effect<ReadonlyArray<Address | undefined>, KafkaFailure>
  /** They are looked up anew when they are asked for next. */
  readonly forgetLeaders: (topic: string) => void
  readonly coordinator: (group: string) => Effect.Effect<Address, KafkaFailure>
}

/** Coordinates groups, as opposed to transactions. */
const groupCoordinator = 0

/** A client with connections of its own, opened when first needed and closed with the scope. */
export const make = Effect.fnUntraced(
  function*(options: KafkaClientOptions): Effect.fn.Return<KafkaClient, never, Scope.Scope> {
    const settings: ConnectionSettings = {
      clientId: options.clientId ?? "maas",
      tls: options.tls,
      sasl: options.sasl,
      connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? "3 seconds"),
      requestTimeout: Duration.fromInputUnsafe(options.requestTimeout ?? "10 seconds")
    }
    const connections = yield* RcMap.make({
      lookup: (address: Address) => KafkaConnection.open(settings, address),
      idleTimeToLive: "Infinity"
    })
    /** By node id; what any broker has said last. */
    let nodes = new Map<number, Address>()
    const known = new Map<string, ReadonlyArray<Address | undefined>>()

    const ask: KafkaClient["ask"] = (address, api, request, wait) =>
      Effect.scoped(
        Effect.flatMap(RcMap.get(connections, address), (connection) => connection.request(api, request, wait))
      ).pipe(
        // The next request opens a new connection.
        Effect.tapError(({ code }) => code === connectionLost ? RcMap.invalidate(connections, address) : Effect.void)
      )

    const askAny: KafkaClient["askAny"] = (api, request) =>
      Effect.suspend(() => {
        const addresses = Array.dedupe([...options.brokers, ...nodes.values()])
        return Effect.firstSuccessOf(addresses.map((address) => ask(address, api, request)))
      })

    const lookUp = Effect.fnUntraced(function*(topic: string) {
      const { brokers, topicMetadata } = yield* askAny("Metadata", { topics: [topic], allowAutoTopicCreation: false })
      nodes = new Map(brokers.map(({ host, nodeId, port }) => [nodeId, `${host}:${port}`]))
      const [metadata] = topicMetadata
      if (metadata === undefined) return yield* new KafkaFailure({ code: "UNKNOWN", cause: `no metadata of ${topic}` })
      const failure = ofCode(metadata.topicErrorCode)
      if (failure !== undefined) return yield* failure
      const leaders = metadata.partitionMetadata
        .toSorted((a, b) => a.partitionId - b.partitionId)
        .map(({ leader }) => nodes.get(leader))
      known.set(topic, leaders)
      return leaders
    })

    return {
      requestTimeout: settings.requestTimeout,
      ask,
      askAny,
      leaders: (topic) =>
        Effect.suspend(() => {
          const leaders = known.get(topic)
          return leaders === undefined ? lookUp(topic) : Effect.succeed(leaders)
        }),
      forgetLeaders: (topic) => known.delete(topic),
      coordinator: (groupId) =>
        askAny("GroupCoordinator", { groupId, coordinatorType: groupCoordinator }).pipe(
          Effect.flatMap(checked),
          Effect.map(({ coordinator: { host, port } }) => `${host}:${port}`)
        )
    }
  }
)
