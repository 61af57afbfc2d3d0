/** A fault test: a database, a log with a topic of its own, and what one process has of them. */
import { Effect, Layer, Random, Redacted, References } from "effect"
import type { Scope } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import { brokers } from "../../support/Kafka.ts"
import { freshDatabase, layerOf } from "../../support/Postgres.ts"
import * as Ledger from "./Ledger.ts"
import * as Participants from "./Participants.ts"

const partitions = 4

/** Which log: the one in PostgreSQL, that of the brokers which tests share, or that of one broker. */
export type Log = "postgres" | "kafka" | { readonly kafka: string }

export interface Options {
  readonly log: Log
  /** A fresh database on the server of all tests unless given. */
  readonly databaseUrl?: string
}

type Services = Layer.Success<ReturnType<typeof Participants.layer>> | Scope.Scope

/** Prepares a place and runs the test there. Faults are the point: what is said of them is not printed. */
export const at = (
  { databaseUrl: given, log }: Options,
  test: (place: Participants.Place) => Effect.Effect<void, unknown, Services>
) =>
  Effect.gen(function*() {
    const databaseUrl = given ?? Redacted.value(yield* freshDatabase)
    const kafka = log === "postgres" ? undefined : log === "kafka" ? (yield* brokers())[0] : log.kafka
    const place: Participants.Place = { databaseUrl, kafka, topic: `events-${yield* Random.nextInt}` }
    yield* Layer.build(Layer.provide(Ledger.tables, layerOf(Redacted.make(databaseUrl))))
    yield* Effect.gen(function*() {
      const log = yield* EventLog
      yield* log.ensureTopics([{ name: place.topic, partitions }])
      yield* test(place)
    }).pipe(Effect.provide(Participants.layer(place)))
  }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
