import { assert, it } from "@effect/vitest"
import { Effect, Random, Schema } from "effect"
import * as EventLogKafka from "../../src/layers/kafka/EventLogKafka.ts"
import { EventLog } from "../../src/messaging/EventLog.ts"
import { freePort } from "../support/FreePort.ts"
import { describeWithKafkaNode } from "../support/Kafka.ts"
import * as KafkaNode from "../support/KafkaNode.ts"
import { dataDirectory, deploy, end, fixture, request, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"

const Readiness = Schema.Struct({
  ready: Schema.Boolean,
  checks: Schema.Struct({ postgres: Schema.String, kafka: Schema.String })
})

const readiness = (program: Program) =>
  Effect.flatMap(
    request(program, "GET", "/ready"),
    ({ json, status }) => Effect.map(Schema.decodeUnknownEffect(Readiness)(json), (state) => ({ ...state, status }))
  )

const Version = Schema.Struct({ status: Schema.String, error: Schema.Unknown })

const infer = (program: Program, model: string) =>
  request(program, "POST", `/v2/models/${model}/infer`, {
    json: { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
  })

describeWithKafkaNode()("the program on Kafka", () => {
  it.live(
    "a model goes from upload to ready through it; while it is away creates still succeed, and go on when it is back",
    () =>
      Effect.gen(function*() {
        const node = yield* KafkaNode.start()
        const program = yield* start(yield* dataDirectory, {
          KAFKA_BROKERS: node.address,
          KAFKA_PARTITIONS: "3",
          KAFKA_COMPRESSION: "gzip"
        })
        const model = new Uint8Array(yield* fixture("good/iris-logreg.onnx"))
        const first = yield* deploy(program, "iris", model)
        assert.strictEqual(first.status, "ready", JSON.stringify(first.error))
        assert.strictEqual((yield* infer(program, "iris")).status, 200)
        assert.deepStrictEqual(yield* readiness(program), {
          status: 200,
          ready: true,
          checks: { postgres: "ok", kafka: "ok" }
        })
        const ranges = yield* Effect.provide(
          Effect.flatMap(EventLog, (log) => log.ranges("model-events")),
          EventLogKafka.layer({ brokers: [node.address] })
        )
        assert.strictEqual(ranges.length, 3)
        // Created, and the six states of its first version.
        assert.strictEqual(ranges.reduce((sum, { end }) => sum + end, 0), 7)

        yield* node.kill
        const created = yield* request(program, "POST", "/api/v1/models", { json: { name: "meanwhile" } })
        assert.strictEqual(created.status, 201, created.text)
        const uploaded = yield* request(program, "PUT", "/api/v1/models/meanwhile/versions/1/artifact", {
          body: model,
          headers: { "content-type": "application/octet-stream" }
        })
        assert.strictEqual(uploaded.status, 200, uploaded.text)
        const away = yield* readiness(program)
        assert.deepStrictEqual([away.status, away.ready, away.checks.postgres], [200, true, "ok"])
        assert.match(away.checks.kafka, /^away/)
        assert.strictEqual((yield* infer(program, "iris")).status, 200)

        yield* node.start
        const { json } = yield* request(program, "GET", "/api/v1/models/meanwhile/versions/1?wait=60s")
        const version = yield* Schema.decodeUnknownEffect(Version)(json)
        assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
        assert.strictEqual((yield* infer(program, "meanwhile")).status, 200)
        const back = yield* readiness(program)
        assert.strictEqual(back.checks.kafka, "ok")
        assert.strictEqual(yield* end(program, "SIGTERM"), 0, program.output())
      }),
    120_000
  )

  it.live(
    "it starts, and takes uploads, when Kafka is not there yet; and ends when told to",
    () =>
      Effect.gen(function*() {
        const port = yield* freePort
        const program = yield* start(yield* dataDirectory, { KAFKA_BROKERS: `127.0.0.1:${port}` })
        const name = `early-${yield* Random.nextIntBetween(0, 1_000)}`
        const created = yield* request(program, "POST", "/api/v1/models", { json: { name } })
        assert.strictEqual(created.status, 201, created.text)
        const { checks, ready } = yield* readiness(program)
        assert.isTrue(ready)
        assert.match(checks.kafka, /^away/)
        assert.strictEqual(yield* Effect.timeout(end(program, "SIGTERM"), "20 seconds"), 0, program.output())
      }),
    60_000
  )
})
