/** How settings say where Kafka is and how to get in. */
import { Schema, SchemaTransformation } from "effect"

const address = String.raw`(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}`

/** `host:port`, several with commas between. */
export const Brokers = Schema.String.check(
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
export const saslMechanisms = ["plain", "scram-sha-256", "scram-sha-512"] as const
