/**
 * What a real Jaeger has to tell of the platform, which runs as four processes and sends all that it says to a collector
 * with the configuration that ships.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { join } from "node:path"
import { freePort } from "../support/FreePort.ts"
import { serveCommand } from "../support/OpsTools.ts"
import * as OtlpReceiver from "../support/OtlpReceiver.ts"
import { fixture, request } from "../support/Program.ts"
import { startRoles } from "../support/Roles.ts"
import * as SpanTree from "../support/SpanTree.ts"

const script = join(import.meta.dirname, "../../scripts/jaeger")

/** Of Jaeger's query API: https://www.jaegertracing.io/docs/latest/architecture/apis/ */
const Traces = Schema.fromJsonString(Schema.Struct({
  data: Schema.NullOr(Schema.Array(Schema.Struct({
    spans: Schema.Array(Schema.Struct({
      traceID: Schema.String,
      spanID: Schema.String,
      operationName: Schema.String,
      processID: Schema.String,
      references: Schema.Array(Schema.Struct({ refType: Schema.String, spanID: Schema.String }))
    })),
    processes: Schema.Record(Schema.String, Schema.Struct({ serviceName: Schema.String }))
  })))
}))

const startJaeger = Effect.gen(function*() {
  const [otlp, grpc, port] = [yield* freePort, yield* freePort, yield* freePort]
  const url = `http://127.0.0.1:${port}`
  yield* serveCommand(["sh", script, "run"], `${url}/api/services`, {
    JAEGER_OTLP_PORT: `${otlp}`,
    JAEGER_GRPC_PORT: `${grpc}`,
    JAEGER_PORT: `${port}`
  })
  const spansOf = (traceId: string) =>
    Effect.promise(() => fetch(`${url}/api/traces/${traceId}`).then((answer) => answer.text())).pipe(
      Effect.flatMap((text) => Effect.orDie(Schema.decodeEffect(Traces)(text))),
      Effect.map(({ data }) =>
        (data ?? []).flatMap(({ processes, spans }) =>
          spans.map((span) => ({
            traceId: span.traceID,
            spanId: span.spanID,
            parentSpanId: span.references.find(({ refType }) => refType === "CHILD_OF")?.spanID ?? "",
            name: span.operationName,
            service: processes[span.processID]?.serviceName ?? ""
          }))
        )
      )
    )
  /** The trace once it holds the ways, within half a minute. */
  const until = (traceId: string, ways: ReadonlyArray<ReadonlyArray<SpanTree.Step>>) =>
    spansOf(traceId).pipe(
      Effect.filterOrFail(
        (spans) => ways.every((way) => SpanTree.holds(spans, way)),
        (spans) => new Error(`not what was wanted:\n${SpanTree.describe(spans)}`)
      ),
      Effect.retry({ schedule: Schedule.spaced("200 millis"), times: 150 }),
      Effect.orDie
    )
  return { address: `127.0.0.1:${grpc}`, until }
})

/** Stands before Jaeger, and before what plays Loki. */
const startCollector = Effect.fnUntraced(function*(jaeger: string, loki: string) {
  const [otlp, pages] = [yield* freePort, yield* freePort]
  yield* serveCommand(["sh", script, "collect"], `http://127.0.0.1:${pages}/debug/servicez`, {
    COLLECTOR_CONFIG: JSON.stringify({
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${otlp}` } } } },
      exporters: { "otlp/jaeger": { endpoint: jaeger }, "otlphttp/loki": { endpoint: `${loki}/otlp` } },
      extensions: { zpages: { endpoint: `127.0.0.1:${pages}` } },
      service: { extensions: ["zpages"], telemetry: { metrics: { level: "none" } } }
    })
  })
  return `http://127.0.0.1:${otlp}`
})

const good = { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }

it.live("Jaeger shows one request whole, through all processes", () =>
  Effect.gen(function*() {
    const jaeger = yield* startJaeger
    const loki = yield* OtlpReceiver.start
    const collector = yield* startCollector(jaeger.address, loki.url)
    const brokers = process.env["KAFKA_BROKERS"]
    const { gateway } = yield* startRoles({
      ...(brokers === undefined ? {} : { KAFKA_BROKERS: brokers }),
      OTEL_EXPORTER_OTLP_ENDPOINT: collector,
      OTEL_BSP_SCHEDULE_DELAY: "100"
    })
    const created = "4bf92f3577b34da6a3ce929d0e0e4736"
    const body = new FormData()
    body.set("name", "iris")
    body.set("file", new Blob([yield* fixture("good/iris-logreg.onnx")]))
    const { status } = yield* request(gateway, "POST", "/api/v1/models", {
      body,
      headers: { traceparent: `00-${created}-00f067aa0ba902b7-01` }
    })
    assert.strictEqual(status, 201)
    const saga: ReadonlyArray<SpanTree.Step> = [
      ["maas-gateway", "POST /api/v1/models"],
      ["maas-registry", "POST /api/v1/models"],
      ["maas-registry", "create_model"]
    ]
    const event: ReadonlyArray<SpanTree.Step> = ["publish_event", ["maas-processor", "process model-events"]]
    yield* jaeger.until(created, [
      [...saga, "save_to_db"],
      [...saga, ...event, "validate", ...event, "convert", ...event, "deploy"],
      [...saga, ...event, "validate", ...event, "convert", ...event, "deploy", ["maas-runtime", "ModelRuntime.deploy"]]
    ])

    const asked = "4bf92f3577b34da6a3ce929d0e0e4737"
    yield* request(gateway, "GET", "/api/v1/models/iris/versions/1?wait=60s")
    const answer = yield* request(gateway, "POST", "/v2/models/iris/infer", {
      json: good,
      headers: { traceparent: `00-${asked}-00f067aa0ba902b7-01` }
    })
    assert.strictEqual(answer.status, 200)
    yield* jaeger.until(asked, [[
      ["maas-gateway", "POST /v2/models/:model/infer"],
      ["maas-gateway", "POST"],
      ["maas-runtime", "POST /v2/models/:model/infer"],
      ["maas-runtime", "ModelRuntime.infer"]
    ]])

    const isTold = (text: string, traceId: string) =>
      loki.requests.some(({ body, path }) =>
        path === "/otlp/v1/logs" && body.includes(text) && body.includes(Buffer.from(traceId, "hex"))
      )
    yield* Effect.sync(() => isTold("A version moved on", created)).pipe(
      Effect.repeat({ until: (told) => told, schedule: Schedule.spaced("100 millis") }),
      Effect.timeout("60 seconds")
    )
  }), 1_200_000)
