/**
 * The lower half of kafkajs 2.2.4: the wire protocol and its connections, of which the package has no types. Field
 * names are kafkajs's. A response is used as it was decoded: kafkajs's own `parse` would throw at the first partition
 * with an error and withhold what the broker said of the others.
 */
declare module "kafkajs/src/protocol/requests/index.js" {
  export interface TopicPartitions<P> {
    readonly topic: string
    readonly partitions: ReadonlyArray<P>
  }

  export interface Message {
    readonly key: Buffer
    readonly value: Buffer
    readonly headers: Readonly<Record<string, string>>
  }

  export interface FetchedMessage {
    readonly key: Buffer | null
    readonly value: Buffer | null
    readonly headers: Readonly<Record<string, Buffer | null | ReadonlyArray<Buffer | null>>>
    readonly offset: string
    readonly timestamp: string
    readonly isControlRecord?: boolean
  }

  export interface FetchedPartition {
    readonly partition: number
    readonly errorCode: number
    readonly highWatermark: string
    readonly abortedTransactions: ReadonlyArray<{ readonly producerId: string; readonly firstOffset: string }> | null
    readonly messages: ReadonlyArray<FetchedMessage>
  }

  export interface Apis {
    readonly ApiVersions: {
      readonly request: void
      readonly response: {
        readonly apiVersions: ReadonlyArray<
          { readonly apiKey: number; readonly minVersion: number; readonly maxVersion: number }
        >
      }
    }
    readonly Metadata: {
      readonly request: { readonly topics: ReadonlyArray<string>; readonly allowAutoTopicCreation: boolean }
      readonly response: {
        readonly brokers: ReadonlyArray<{ readonly nodeId: number; readonly host: string; readonly port: number }>
        readonly topicMetadata: ReadonlyArray<{
          readonly topicErrorCode: number
          readonly topic: string
          readonly partitionMetadata: ReadonlyArray<{ readonly partitionId: number; readonly leader: number }>
        }>
      }
    }
    readonly CreateTopics: {
      readonly request: {
        readonly topics: ReadonlyArray<{
          readonly topic: string
          readonly numPartitions: number
          readonly replicationFactor: number
          readonly configEntries: ReadonlyArray<{ readonly name: string; readonly value: string }>
        }>
        readonly timeout: number
      }
      readonly response: {
        readonly topicErrors: ReadonlyArray<
          { readonly topic: string; readonly errorCode: number; readonly errorMessage: string | null }
        >
      }
    }
    readonly InitProducerId: {
      readonly request: { readonly transactionTimeout: number }
      readonly response: { readonly errorCode: number; readonly producerId: string; readonly producerEpoch: number }
    }
    readonly Produce: {
      readonly request: {
        readonly acks: number
        readonly timeout: number
        readonly compression: number
        readonly producerId: string
        readonly producerEpoch: number
        readonly topicData: ReadonlyArray<
          TopicPartitions<
            { readonly partition: number; readonly firstSequence: number; readonly messages: ReadonlyArray<Message> }
          >
        >
      }
      readonly response: {
        readonly topics: ReadonlyArray<{
          readonly topicName: string
          readonly partitions: ReadonlyArray<{ readonly partition: number; readonly errorCode: number }>
        }>
      }
    }
    readonly Fetch: {
      readonly request: {
        readonly maxWaitTime: number
        readonly minBytes: number
        readonly maxBytes: number
        readonly topics: ReadonlyArray<
          TopicPartitions<{ readonly partition: number; readonly fetchOffset: number; readonly maxBytes: number }>
        >
        readonly rackId: string
      }
      readonly response: {
        readonly errorCode: number
        readonly responses: ReadonlyArray<
          { readonly topicName: string; readonly partitions: ReadonlyArray<FetchedPartition> }
        >
      }
    }
    readonly ListOffsets: {
      readonly request: {
        readonly topics: ReadonlyArray<TopicPartitions<{ readonly partition: number; readonly timestamp: number }>>
      }
      readonly response: {
        readonly responses: ReadonlyArray<
          TopicPartitions<{ readonly partition: number; readonly errorCode: number; readonly offset: string }>
        >
      }
    }
    readonly GroupCoordinator: {
      readonly request: { readonly groupId: string; readonly coordinatorType: number }
      readonly response: {
        readonly errorCode: number
        readonly coordinator: { readonly host: string; readonly port: number }
      }
    }
    readonly JoinGroup: {
      readonly request: {
        readonly groupId: string
        readonly sessionTimeout: number
        readonly rebalanceTimeout: number
        readonly memberId: string
        readonly protocolType: string
        readonly groupProtocols: ReadonlyArray<{ readonly name: string; readonly metadata: Buffer }>
      }
      readonly response: {
        readonly errorCode: number
        readonly generationId: number
        readonly leaderId: string
        readonly memberId: string
        /** All members for the leader, none for the others. */
        readonly members: ReadonlyArray<{ readonly memberId: string; readonly memberMetadata: Buffer }>
      }
    }
    readonly SyncGroup: {
      readonly request: {
        readonly groupId: string
        readonly generationId: number
        readonly memberId: string
        readonly groupAssignment: ReadonlyArray<{ readonly memberId: string; readonly memberAssignment: Buffer }>
      }
      readonly response: { readonly errorCode: number; readonly memberAssignment: Buffer }
    }
    readonly Heartbeat: {
      readonly request: { readonly groupId: string; readonly groupGenerationId: number; readonly memberId: string }
      readonly response: { readonly errorCode: number }
    }
    readonly LeaveGroup: {
      readonly request: { readonly groupId: string; readonly memberId: string }
      readonly response: { readonly errorCode: number }
    }
    readonly OffsetCommit: {
      readonly request: {
        readonly groupId: string
        readonly groupGenerationId: number
        readonly memberId: string
        readonly topics: ReadonlyArray<TopicPartitions<{ readonly partition: number; readonly offset: number }>>
      }
      readonly response: {
        readonly responses: ReadonlyArray<
          TopicPartitions<{ readonly partition: number; readonly errorCode: number }>
        >
      }
    }
    readonly OffsetFetch: {
      /** An empty list asks for every partition that the group has an offset of. */
      readonly request: {
        readonly groupId: string
        readonly topics: ReadonlyArray<TopicPartitions<{ readonly partition: number }>>
      }
      readonly response: {
        readonly errorCode: number
        /** The offset is -1 where the group has none. */
        readonly responses: ReadonlyArray<
          TopicPartitions<{ readonly partition: number; readonly errorCode: number; readonly offset: string }>
        >
      }
    }
    readonly DescribeGroups: {
      readonly request: { readonly groupIds: ReadonlyArray<string> }
      readonly response: {
        readonly groups: ReadonlyArray<{
          readonly errorCode: number
          readonly members: ReadonlyArray<{ readonly memberId: string }>
        }>
      }
    }
  }

  export type Api = keyof Apis

  export interface Response<A> {
    readonly decode: (payload: Buffer) => Promise<A>
    readonly parse: (decoded: A) => Promise<A>
  }

  /** A request of one version, and how its response is read. */
  export interface Exchange<A> {
    readonly request: object
    readonly response: Response<A>
  }

  export interface Definition<K extends Api> {
    readonly protocol: (options: { readonly version: number }) => (options: Apis[K]["request"]) => Exchange<
      Apis[K]["response"]
    >
  }

  export type Versions = Readonly<Record<number, { readonly minVersion: number; readonly maxVersion: number }>>

  export const requests: { readonly [K in Api]: Definition<K> }
  /** Picks the newest version that both sides know. */
  export const lookup: (
    versions: Versions
  ) => <K extends Api>(apiKey: number, definition: Definition<K>) => ReturnType<Definition<K>["protocol"]>
}

declare module "kafkajs/src/protocol/requests/apiKeys.js" {
  import type { Api } from "kafkajs/src/protocol/requests/index.js"

  const apiKeys: { readonly [K in Api]: number }
  export default apiKeys
}

declare module "kafkajs/src/protocol/error.js" {
  export const createErrorFromCode: (code: number) => Error & { readonly type: string }
}

declare module "kafkajs/src/network/connection.js" {
  import type { Exchange, Versions } from "kafkajs/src/protocol/requests/index.js"
  import type { Socket } from "node:net"
  import type { ConnectionOptions } from "node:tls"

  export interface Logger {
    readonly namespace: () => Logger
    readonly error: LogFunction
    readonly warn: LogFunction
    readonly info: LogFunction
    readonly debug: LogFunction
  }

  export type LogFunction = (message: string, extra?: object) => void

  export interface Sasl {
    readonly mechanism: string
    readonly username: string
    readonly password: string
  }

  export interface RequestQueue {
    readonly pending: ReadonlyArray<unknown>
    scheduleCheckPendingRequests: () => void
  }

  class Connection {
    constructor(options: {
      readonly host: string
      readonly port: number
      readonly clientId: string
      readonly logger: Logger
      readonly socketFactory: (options: {
        readonly host: string
        readonly port: number
        readonly onConnect: () => void
      }) => Socket
      readonly ssl: ConnectionOptions | undefined
      readonly sasl: Sasl | undefined
      readonly connectionTimeout: number
      readonly requestTimeout: number
      readonly enforceRequestTimeout: boolean
    })
    readonly requestQueue: RequestQueue
    readonly socket: Socket | undefined
    connect(): Promise<unknown>
    setVersions(versions: Versions): void
    setSupportAuthenticationProtocol(supported: boolean): void
    authenticate(): Promise<void>
    send<A>(exchange: Exchange<A>): Promise<A>
    rejectRequests(error: Error): void
    disconnect(): Promise<unknown>
  }
  export default Connection
}

declare module "kafkajs/src/consumer/filterAbortedMessages.js" {
  import type { FetchedMessage, FetchedPartition } from "kafkajs/src/protocol/requests/index.js"

  const filterAbortedMessages: (
    options: Pick<FetchedPartition, "messages" | "abortedTransactions">
  ) => ReadonlyArray<FetchedMessage>
  export default filterAbortedMessages
}
