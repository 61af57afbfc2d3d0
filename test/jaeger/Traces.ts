/** What a real Jaeger has to tell of the platform, which runs as four processes. */
import { assert, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { join } from "node:path"
import { freePort, serveCommand } from "../support/OpsTools.ts"
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
  const [otlp, port] = [yield* freePort, yield* freePort]
  const url = `http://127.0.0.1:${port}`
  yield* serveCommand(["sh", script, "run"], `${url}/api/services`, {
    JAEGER_OTLP_PORT: `${otlp}`,
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
  return { endpoint: `http://127.0.0.1:${otlp}`, until }
})

const good = { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }

it.live("Jaeger shows one request whole, through all processes", () =>
  Effect.gen(function*() {
    const jaeger = yield* startJaeger
    const brokers = process.env["KAFKA_BROKERS"]
    const { gateway } = yield* startRoles({
      ...(brokers === undefined ? {} : { KAFKA_BROKERS: brokers }),
      OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.endpoint,
      OTEL_LOGS_EXPORTER: "none",
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
  }), 1_200_000)
