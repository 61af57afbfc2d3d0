import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FileSystem, Redacted, Schedule } from "effect"
import * as SecureRandomNode from "../../../src/layers/crypto/SecureRandomNode.ts"
import * as EmbeddedPostgres from "../../../src/layers/embedded/EmbeddedPostgres.ts"
import * as OutboxRelay from "../../../src/messaging/OutboxRelay.ts"
import { describeWithKafka, describeWithKafkaNode } from "../../support/Kafka.ts"
import * as KafkaNode from "../../support/KafkaNode.ts"
import * as KafkaProxy from "../../support/KafkaProxy.ts"
import * as Durations from "./Durations.ts"
import * as Ledger from "./Ledger.ts"
import * as Participants from "./Participants.ts"
import * as Processes from "./Processes.ts"
import * as Scenario from "./Scenario.ts"

const relay = Effect.forkScoped(OutboxRelay.run({ poll: "500 millis" }))

/** A server of its own, which is started again when it is killed. */
const postgres = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "maas-faults-" })
  const { url } = yield* EmbeddedPostgres.start({ directory })
  const kill = Effect.gen(function*() {
    const file = yield* fs.readFileString(`${directory}/cluster/data/postmaster.pid`)
    process.kill(Number(file.split("\n")[0]), "SIGKILL")
  }).pipe(Effect.retry(Schedule.spaced("50 millis")))
  return { databaseUrl: Redacted.value(url), kill }
}).pipe(Effect.provide([NodeServices.layer, SecureRandomNode.layer]))

const restarted = (log: Scenario.Log) =>
  Effect.gen(function*() {
    const { databaseUrl, kill } = yield* postgres
    yield* Scenario.at(
      { log, databaseUrl },
      Effect.fnUntraced(function*(place) {
        yield* Effect.forkScoped(OutboxRelay.run({ poll: "500 millis" }))
        yield* Effect.forkScoped(Participants.consume(place))
        const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 6, pauseMillis: 10 }))
        for (let round = 0; round < Durations.restarts; round++) {
          yield* Ledger.moreEffects(150)
          yield* kill
        }
        yield* Ledger.moreEffects(150)
        yield* Fiber.interrupt(writing)
        assert.isAbove(yield* Ledger.settle, 300)
      })
    )
  }).pipe(Effect.scoped)

describe("PostgreSQL is killed and comes back, under load", () => {
  const timeout = Durations.restarts * 30_000 + 300_000
  it.live("law 53, law 57: with the log in it", () => restarted("postgres"), timeout)
  describeWithKafka("with Kafka as the log", () => {
    it.live("law 53, law 57: relays, inbox and effects", () => restarted("kafka"), timeout)
  })
})

describeWithKafkaNode()("a broker under load", () => {
  it.live("law 53, law 57: it is killed, is away, and comes back", () =>
    Effect.gen(function*() {
      const node = yield* KafkaNode.start()
      yield* Scenario.at(
        { log: { kafka: node.address } },
        Effect.fnUntraced(function*(place) {
          yield* relay
          yield* Processes.start("consumer", place)
          const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 6, pauseMillis: 10 }))
          yield* Ledger.moreEffects(200)
          yield* node.kill
          yield* Effect.sleep(`${Durations.brokerOutage} seconds`)
          yield* node.start
          yield* Ledger.moreEffects(300)
          yield* Fiber.interrupt(writing)
          assert.isAbove(yield* Ledger.settle, 500)
        })
      )
    }).pipe(Effect.scoped), Durations.brokerOutage * 1_000 + 300_000)

  it.live("law 53: every 37th acknowledgement is lost on the way", () =>
    Effect.gen(function*() {
      const proxy = yield* KafkaProxy.open(37)
      const node = yield* KafkaNode.start({
        properties: () => `advertised.listeners=PLAINTEXT://127.0.0.1:${proxy.port}`
      })
      proxy.lead(node.port)
      yield* Scenario.at(
        { log: { kafka: `127.0.0.1:${proxy.port}` } },
        Effect.fnUntraced(function*(place) {
          yield* relay
          yield* Effect.forkScoped(Participants.consume(place))
          const writing = yield* Effect.forkScoped(Ledger.write(place.topic, { keys: 12, pauseMillis: 3 }))
          yield* Ledger.moreEffects(50)
          yield* proxy.start
          // How many events an acknowledgement stands for is for the relay to choose
          yield* Effect.repeat(Ledger.moreEffects(Durations.lossyEvents), { until: () => proxy.lost() > 5 })
          yield* proxy.stop
          yield* Fiber.interrupt(writing)
          assert.isAbove(yield* Ledger.settle, Durations.lossyEvents)
          assert.isAbove(proxy.lost(), 5)
        })
      )
    }).pipe(Effect.scoped), 240_000)
})
