/**
 * A relay or a consumer as a process of its own, to be killed, stopped and woken.
 *
 * Usage: participant.ts relay|consumer <Place as JSON> [count]
 *
 * With a count it says `held` when it has published so many messages, or so many events have taken effect, and does
 * nothing more: it is then between that and the record of it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Logger, Schema } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import * as OutboxRelay from "../../../src/messaging/OutboxRelay.ts"
import * as Participants from "./Participants.ts"

const [role, json = "", count] = process.argv.slice(2)

const hold = (reached: number): Effect.Effect<void> =>
  count === undefined || reached < Number(count) ? Effect.void : Effect.andThen(Console.log("held"), Effect.never)

/** The log, but that it never comes back from the publication that completes the count. */
const holding = Effect.map(EventLog, (log) => {
  let published = 0
  return EventLog.of({
    ...log,
    publish: (records) => Effect.andThen(log.publish(records), Effect.suspend(() => hold(published += records.length)))
  })
})

const relay = Effect.flatMap(
  holding,
  (log) => Effect.provideService(OutboxRelay.run({ poll: "500 millis" }), EventLog, log)
)

const participate = (place: Participants.Place) =>
  Effect.gen(function*() {
    yield* Console.log("started")
    return yield* role === "relay" ? relay : Participants.consume(place, hold)
  }).pipe(Effect.provide(Participants.layer(place)))

Schema.decodeEffect(Schema.fromJsonString(Participants.Place))(json).pipe(
  Effect.flatMap(participate),
  Effect.provide(Logger.layer([Logger.consoleJson])),
  NodeRuntime.runMain()
)
