import { Array, Effect, Layer } from "effect"
import * as EventLogKafka from "../../../src/layers/kafka/EventLogKafka.ts"
import * as KafkaClient from "../../../src/layers/kafka/KafkaClient.ts"
import { brokers, describeWithKafka, describeWithKafkaNode, patient } from "../../support/Kafka.ts"
import { consumerContract } from "./ConsumerContract.ts"
import { eventLogContract } from "./EventLogContract.ts"
import { lease, Leases } from "./EventLogFixtures.ts"
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
      KafkaClient.make({ ...patient, brokers: addresses, clientId: "test" }),
      (client) => ({ end: (group: string) => putOut(client, group) })
    )
  )

const adapter = (version?: string) =>
  Layer.unwrap(
    Effect.map(brokers(version), (addresses) =>
      Layer.merge(
        leases(addresses),
        EventLogKafka.layer({
          ...patient,
          brokers: addresses,
          sessionTimeout: lease,
          heartbeatInterval: "200 millis"
        })
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
