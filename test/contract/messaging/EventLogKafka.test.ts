import { Array, Duration, Effect, Layer } from "effect"
import * as EventLogKafka from "../../../src/layers/kafka/EventLogKafka.ts"
import * as KafkaClient from "../../../src/layers/kafka/KafkaClient.ts"
import { brokers, describeWithKafka, describeWithKafkaNode } from "../../support/Kafka.ts"
import { consumerContract } from "./ConsumerContract.ts"
import { eventLogContract } from "./EventLogContract.ts"
import { Leases } from "./EventLogFixtures.ts"
import { payloadContract } from "./PayloadContract.ts"

/** Puts all members out of their group, as the coordinator does with those that it has not heard of for too long. */
const putOut = (client: KafkaClient.KafkaClient, group: string) =>
  Effect.gen(function*() {
    const coordinator = yield* client.coordinator(group)
    const { groups } = yield* client.ask(coordinator, "DescribeGroups", { groupIds: [group] })
    const members = groups.flatMap(({ members }) => members)
    yield* Effect.forEach(
      members,
      ({ memberId }) => client.ask(coordinator, "LeaveGroup", { groupId: group, memberId }),
      { discard: true }
    )
  }).pipe(Effect.orDie)

const leases = (addresses: Array.NonEmptyReadonlyArray<string>) =>
  Layer.effect(
    Leases,
    Effect.map(
      KafkaClient.make({
        brokers: addresses,
        clientId: "test",
        connectTimeout: Duration.seconds(3),
        requestTimeout: Duration.seconds(5)
      }),
      (client) => ({ end: (group: string) => putOut(client, group) })
    )
  )

const adapter = (version?: string) =>
  Layer.unwrap(
    Effect.map(brokers(version), (addresses) =>
      Layer.merge(
        leases(addresses),
        EventLogKafka.layer({ brokers: addresses, sessionTimeout: "3 seconds", heartbeatInterval: "200 millis" })
      ))
  )

describeWithKafka("on the newest Kafka", () => {
  eventLogContract("EventLogKafka", adapter())
  consumerContract("Consumer on Kafka", adapter())
  payloadContract("Large payloads on Kafka", adapter())
})

const older = "3.9.2"
describeWithKafkaNode(older)(`on Kafka ${older}`, () => {
  eventLogContract("EventLogKafka", adapter(older))
  consumerContract("Consumer on Kafka", adapter(older))
  payloadContract("Large payloads on Kafka", adapter(older))
})
