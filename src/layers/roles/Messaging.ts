import { Effect, FileSystem, Layer } from "effect"
import type { Readiness } from "../../services/Readiness.ts"
import * as EventLogKafka from "../kafka/EventLogKafka.ts"
import type { KafkaClientOptions } from "../kafka/KafkaClient.ts"
import * as ReadinessKafka from "../kafka/ReadinessKafka.ts"
import * as EventLogPg from "../postgres/messaging/EventLogPg.ts"
import { ConfigurationInvalid } from "../settings/ConfigurationInvalid.ts"
import { Settings } from "../settings/Settings.ts"

/** What the settings say of Kafka; nothing when they name no brokers. */
const kafka = Effect.gen(function*() {
  const settings = yield* Settings
  const { kafkaBrokers, kafkaSaslMechanism, kafkaSaslPassword, kafkaSaslUsername, kafkaTlsAuthority } = settings
  if (kafkaBrokers === undefined) return undefined
  const fs = yield* FileSystem.FileSystem
  const authority = kafkaTlsAuthority === undefined ? {} : {
    ca: yield* Effect.mapError(
      fs.readFileString(kafkaTlsAuthority),
      ({ message }) => new ConfigurationInvalid({ mistakes: [{ name: "KAFKA_SSL_CA", message }] })
    )
  }
  const sasl = kafkaSaslMechanism === undefined || kafkaSaslUsername === undefined || kafkaSaslPassword === undefined
    ? undefined
    : { mechanism: kafkaSaslMechanism, username: kafkaSaslUsername, password: kafkaSaslPassword }
  return { brokers: kafkaBrokers, tls: settings.kafkaTls ? authority : undefined, sasl } satisfies KafkaClientOptions
})

/** Kafka where the settings name its brokers, else the log inside the database. */
export const eventLog = Layer.unwrap(Effect.gen(function*() {
  const options = yield* kafka
  if (options === undefined) return EventLogPg.layer()
  const { kafkaCompression, kafkaPartitions, kafkaReplication } = yield* Settings
  return EventLogKafka.layer({
    ...options,
    compression: kafkaCompression,
    partitions: kafkaPartitions,
    replication: kafkaReplication
  })
}))

/** What the role stands on, and Kafka where the events go through it. */
export const readiness = <E, R>(role: Layer.Layer<Readiness, E, R>) =>
  Layer.unwrap(
    Effect.map(kafka, (options) => options === undefined ? role : Layer.provide(ReadinessKafka.layer(options), role))
  )
