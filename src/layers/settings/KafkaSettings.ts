/** Where Kafka is, how to get in, and how its topics are made. */
import { Config, Schema, SchemaTransformation } from "effect"
import { integer, optional, preset, secret } from "./Setting.ts"

const address = String.raw`(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}`

/** `host:port`, several with commas between. */
const Brokers = Schema.String.check(
  Schema.isPattern(new RegExp(`^${address}(,${address})*$`), { expected: "host:port, several with commas between" })
).pipe(
  Schema.decodeTo(
    Schema.NonEmptyArray(Schema.String),
    SchemaTransformation.transform({
      decode: (text: string): readonly [string, ...Array<string>] => {
        const [first = "", ...more] = text.split(",")
        return [first, ...more]
      },
      encode: (brokers) => brokers.join(",")
    })
  )
)

/** How a client shows who it is. */
const saslMechanisms = ["plain", "scram-sha-256", "scram-sha-512"] as const

export const settings = {
  kafkaBrokers: optional(
    "KAFKA_BROKERS",
    "events go through PostgreSQL",
    "Brokers of a Kafka, 3.3 or newer, for events: `host:port`, several with commas between",
    (name) => Config.schema(Brokers, name)
  ),
  kafkaTls: preset("KAFKA_SSL", "false", "Whether to speak TLS with Kafka", Config.Boolean),
  kafkaTlsAuthority: optional(
    "KAFKA_SSL_CA",
    "Node's own",
    "The file of the authority that vouches for Kafka, as PEM",
    Config.NonEmptyString
  ),
  kafkaSaslMechanism: optional(
    "KAFKA_SASL_MECHANISM",
    "none",
    "How to show Kafka who calls: `plain`, `scram-sha-256` or `scram-sha-512`",
    (name) => Config.Literals(saslMechanisms, name)
  ),
  kafkaSaslUsername: optional("KAFKA_SASL_USERNAME", "none", "Who calls", Config.NonEmptyString),
  kafkaSaslPassword: secret("KAFKA_SASL_PASSWORD", "none", "The password of who calls", Schema.String),
  kafkaPartitions: preset("KAFKA_PARTITIONS", "8", "The partitions of new topics in Kafka", integer(1, 10_000)),
  kafkaReplication: optional(
    "KAFKA_REPLICATION",
    "the cluster's",
    "The copies of each partition of new topics in Kafka",
    integer(1, 32_767)
  ),
  kafkaCompression: preset(
    "KAFKA_COMPRESSION",
    "none",
    "How events are compressed in Kafka: `none` or `gzip`",
    (name) => Config.Literals(["none", "gzip"], name)
  )
}
