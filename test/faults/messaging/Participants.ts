/** The relay and the consumer of the fault tests, in this process or in one that can be killed. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, Redacted, Schema } from "effect"
import * as EventLogKafka from "../../../src/layers/kafka/EventLogKafka.ts"
import * as EventLogPg from "../../../src/layers/postgres/messaging/EventLogPg.ts"
import * as InboxPg from "../../../src/layers/postgres/messaging/InboxPg.ts"
import * as Notifications from "../../../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../../../src/layers/postgres/messaging/OutboxPg.ts"
import * as Consumer from "../../../src/messaging/Consumer.ts"
import { HandlingFailed } from "../../../src/messaging/Handling.ts"
import * as Events from "./Events.ts"

/** Where a test takes place. */
export const Place = Schema.Struct({
  databaseUrl: Schema.String,
  /** A broker; without one the log is the one beside the rows. */
  kafka: Schema.optional(Schema.String),
  topic: Schema.String
})
export type Place = typeof Place.Type

/** Who falls silent is soon given up, so that no test need wait for long. */
const silence = "3 seconds"

/** What one process has of the place. */
export const layer = ({ databaseUrl, kafka }: Place) =>
  Layer.mergeAll(
    kafka === undefined ? EventLogPg.layer({ lease: silence }) : EventLogKafka.layer({
      brokers: [kafka],
      sessionTimeout: silence,
      heartbeatInterval: "300 millis",
      requestTimeout: "3 seconds"
    }),
    OutboxPg.layer({ relayTimeout: "2 seconds" }),
    InboxPg.layer()
  ).pipe(
    Layer.provideMerge(Notifications.layer),
    Layer.provideMerge(PgClient.layer({
      url: Redacted.make(databaseUrl),
      maxConnections: 20,
      connectTimeout: "2 seconds"
    }))
  )

/** Outages of the tests are shorter than these together. */
const retryDelays = Array.from({ length: 1_000 }, () => "100 millis" as const)

/** `afterEffect` comes between an event's effect and the record that it is done; it hears how many there were. */
export const consume = (
  { topic }: Place,
  afterEffect: (count: number) => Effect.Effect<void> = () => Effect.void
) => {
  let count = 0
  return Consumer.run({
    group: topic,
    topics: [topic],
    from: "earliest",
    decode: Events.decode,
    handle: (event) =>
      Events.takeEffect(topic, event).pipe(
        Effect.mapError((cause) => new HandlingFailed({ code: "unavailable", message: "not now", cause })),
        Effect.andThen(Effect.suspend(() => afterEffect(++count)))
      ),
    retryDelays,
    drainTimeout: "2 seconds"
  })
}
