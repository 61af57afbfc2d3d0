/** What a topic on Kafka holds, read as any other program would. */
import { Deferred, Effect, Schema } from "effect"
import * as EventLogKafka from "../src/layers/kafka/EventLogKafka.ts"
import { EventLog } from "../src/messaging/EventLog.ts"

const Event = Schema.fromJsonString(Schema.Struct({ type: Schema.String }))

/** The types of the events of a topic, from its beginning until the first of the given type. */
export const eventsOf = (broker: string, topic: string, last: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const types: Array<string> = []
    const done = yield* Deferred.make<ReadonlyArray<string>>()
    const decode = Schema.decodeUnknownEffect(Event)
    const reading = log.subscribe({ group: "demo", topics: [topic], from: "earliest" }, (partition) =>
      Effect.forever(Effect.gen(function*() {
        for (const { value } of yield* partition.take) {
          const { type } = yield* Effect.orDie(decode(new TextDecoder().decode(value)))
          types.push(type)
          if (type === last) {
            yield* Deferred.succeed(done, types)
          }
        }
      })))
    return yield* Effect.raceFirst(Deferred.await(done), reading).pipe(Effect.timeout("20 seconds"), Effect.orDie)
  }).pipe(Effect.provide(EventLogKafka.layer({ brokers: [broker] })))
