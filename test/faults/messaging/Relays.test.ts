import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { describeWithKafka } from "../../support/Kafka.ts"
import * as Ledger from "./Ledger.ts"
import * as Participants from "./Participants.ts"
import * as Processes from "./Processes.ts"
import * as Scenario from "./Scenario.ts"

const tests = (log: Scenario.Log) => {
  it.live("law 53: killed between publish and mark, again and again", () =>
    Scenario.at(
      { log },
      Effect.fnUntraced(function*(place) {
        yield* Effect.forkScoped(Participants.consume(place))
        const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 6, pauseMillis: 10 }))
        for (const count of [1, 40, 200]) {
          const relay = yield* Processes.start("relay", place, count)
          yield* relay.held
          yield* relay.kill
        }
        yield* Processes.start("relay", place)
        yield* Ledger.moreEffects(200)
        yield* Fiber.interrupt(writing)
        assert.isAbove(yield* Ledger.settle, 400)
      })
    ))

  it.live("law 53: two, of which one is stopped for longer than its locks hold, and woken, in turn", () =>
    Scenario.at(
      { log },
      Effect.fnUntraced(function*(place) {
        yield* Effect.forkScoped(Participants.consume(place))
        const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 6, pauseMillis: 10 }))
        const relays = [yield* Processes.start("relay", place), yield* Processes.start("relay", place)]
        for (const relay of [...relays, ...relays]) {
          yield* Ledger.moreEffects(50)
          yield* relay.signal("SIGSTOP")
          yield* Ledger.moreEffects(200)
          yield* relay.signal("SIGCONT")
        }
        yield* Ledger.moreEffects(100)
        yield* Fiber.interrupt(writing)
        assert.isAbove(yield* Ledger.settle, 1_000)
      })
    ))
}

describe("relays to the log in PostgreSQL", () => tests("postgres"))
describeWithKafka("relays to Kafka", () => tests("kafka"))
