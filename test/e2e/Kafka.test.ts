import { assert, it } from "@effect/vitest"
import { Effect, Random, Schedule, Schema } from "effect"
import * as EventLogKafka from "../../src/layers/kafka/EventLogKafka.ts"
import { EventLog } from "../../src/messaging/EventLog.ts"
import { freePort } from "../support/FreePort.ts"
import { describeWithKafkaNode } from "../support/Kafka.ts"
import * as KafkaNode from "../support/KafkaNode.ts"
import { dataDirectory, deploy, end, fixture, request, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"
import { isSigned, receiver, untilReceived } from "../support/WebhookReceiver.ts"

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

const Task = Schema.Struct({ id: Schema.String, state: Schema.String })
const readTask = ({ json }: { readonly json: unknown }) => Schema.decodeUnknownEffect(Task)(json)
const Secret = Schema.Struct({ secret: Schema.String })
const Told = Schema.fromJsonString(Schema.Struct({ type: Schema.String, data: Task }))
const Letters = Schema.Struct({ items: Schema.Array(Schema.Struct({ group: Schema.String, error: Schema.String })) })

const topicsOfTasks = ["inference-tasks", "webhook-deliveries"]

/** Everything in a topic. */
const contents = (address: string, topic: string) =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const ranges = yield* log.ranges(topic)
    const found = yield* Effect.forEach(ranges, ({ partition }) => log.read({ topic, partition, offset: 0 }))
    return found.flatMap(({ records }) => records)
  }).pipe(Effect.provide(EventLogKafka.layer({ brokers: [address] })))

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
      })
  )

  it.live(
    "law 54: a task is answered through it and its webhook told once, signed; with the payloads of all events by reference",
    () =>
      Effect.gen(function*() {
        const node = yield* KafkaNode.start()
        const program = yield* start(yield* dataDirectory, {
          KAFKA_BROKERS: node.address,
          KAFKA_PARTITIONS: "3",
          MAAS_WEBHOOK_ALLOW_PRIVATE: "true",
          MAAS_EVENT_INLINE_LIMIT: "64 B"
        })
        const first = yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
        assert.strictEqual(first.status, "ready", JSON.stringify(first.error))
        const { received, url } = yield* receiver()
        const hook = yield* request(program, "POST", "/api/v1/webhooks", { json: { url } })
        assert.strictEqual(hook.status, 201, hook.text)
        const { secret } = yield* Schema.decodeUnknownEffect(Secret)(hook.json)

        const tasks = yield* Effect.forEach(Array.from({ length: 5 }), () =>
          request(program, "POST", "/api/v1/inference", {
            headers: { prefer: "respond-async" },
            json: {
              model: "iris",
              inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
            }
          }).pipe(
            Effect.tap(({ status, text }) =>
              Effect.sync(() => assert.strictEqual(status, 202, text))
            ),
            Effect.flatMap(readTask)
          ))
        for (const { id } of tasks) {
          const { state } = yield* request(program, "GET", `/api/v1/inference/tasks/${id}`).pipe(
            Effect.flatMap(readTask),
            Effect.repeat({ until: ({ state }) => state === "succeeded", schedule: Schedule.spaced("50 millis") }),
            Effect.timeout("60 seconds")
          )
          assert.strictEqual(state, "succeeded")
        }
        yield* untilReceived(received, tasks.length)
        const told = yield* Effect.forEach(received, ({ body }) => Schema.decodeEffect(Told)(body))
        assert.sameMembers(told.map(({ data }) => data.id), tasks.map(({ id }) => id))
        assert.isTrue(told.every(({ data, type }) => type === "task.succeeded" && data.state === "succeeded"))
        assert.isTrue(received.every((one) => isSigned(one, secret)))

        for (const topic of topicsOfTasks) {
          const records = yield* contents(node.address, topic)
          // Queued, running, succeeded; and one delivery
          assert.lengthOf(records, tasks.length * (topic === "inference-tasks" ? 3 : 1))
          assert.isTrue(records.every(({ headers, value }) =>
            value.byteLength === 0 && headers["payload-location"] !== undefined
          ))
        }

        // Of another version, for the tasks and the webhooks; and of no kind that they know
        const later = { id: "01a20827-ef83-75cd-a1e2-13684612098e", version: 2, data: {} }
        yield* Effect.provide(
          EventLog.use((log) =>
            log.publish(["task.queued", "task.thought_about"].map((type) => ({
              topic: "inference-tasks",
              key: "k",
              value: new TextEncoder().encode(JSON.stringify({ ...later, type })),
              headers: {}
            })))
          ),
          EventLogKafka.layer({ brokers: [node.address] })
        )
        const { items } = yield* request(program, "GET", "/api/v1/admin/dead-letters").pipe(
          Effect.flatMap(({ json }) => Schema.decodeUnknownEffect(Letters)(json)),
          Effect.repeat({ until: ({ items }) => items.length >= 2, schedule: Schedule.spaced("100 millis") }),
          Effect.timeout("60 seconds")
        )
        assert.sameDeepMembers([...items], [
          { group: "tasks", error: "unknown_version" },
          { group: "webhooks", error: "unknown_version" }
        ])
        // Nothing was told a second time meanwhile
        assert.strictEqual(received.length, tasks.length)
        assert.strictEqual(yield* end(program, "SIGTERM"), 0, program.output())
      })
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
      })
  )
})
