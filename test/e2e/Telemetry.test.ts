/** What the program tells of itself to a collector: traces, from outside. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import * as OtlpReceiver from "../support/OtlpReceiver.ts"
import { freshDatabase } from "../support/Postgres.ts"
import * as Program from "../support/Program.ts"
import { deploy, end, fixture, request } from "../support/Program.ts"
import * as RedisServer from "../support/Redis.ts"
import { startRoles } from "../support/Roles.ts"
import * as SpanTree from "../support/SpanTree.ts"
import { holds } from "../support/SpanTree.ts"
import type { Span } from "../support/SpanTree.ts"

const good = { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
const infer = "/v2/models/iris/infer"
const Problem = Schema.Struct({ traceId: Schema.String })

/** Traces are sent at once, so that nobody waits for them. */
const at = ({ url }: { readonly url: string }) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_BSP_SCHEDULE_DELAY: "50" })

let made = 0
/** A caller's trace of its own, so that a test knows the spans that are its. */
const newTrace = () => {
  const traceId = (++made).toString(16).padStart(32, "a")
  return { traceId, parentId: "00f067aa0ba902b7", traceparent: `00-${traceId}-00f067aa0ba902b7-01` }
}

/** On a database of the run's server, which is there sooner than one of the program's own. */
const start = Effect.fnUntraced(function*(environment: Readonly<Record<string, string>>) {
  const url = yield* Effect.orDie(freshDatabase)
  return yield* Program.start(yield* Program.dataDirectory, { DATABASE_URL: Redacted.value(url), ...environment })
})

class Observed extends Context.Service<Observed, {
  readonly program: Program.Program
  readonly receiver: Effect.Success<typeof OtlpReceiver.start>
}>()("maas/test/e2e/Telemetry.test/Observed") {
  static readonly layer = Layer.effect(
    Observed,
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.start
      const program = yield* start(at(receiver))
      yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
      return { program, receiver }
    })
  )
}

layer(Observed.layer, { excludeTestServices: true, timeout: "2 minutes" })("the program's traces", (it) => {
  it.effect("name a request by its route, and tell what became of it", () =>
    Effect.gen(function*() {
      const { program, receiver } = yield* Observed
      const { parentId, traceId, traceparent } = newTrace()
      yield* request(program, "GET", "/api/v1/models/iris?secret=1", { headers: { traceparent } })
      const [span] = yield* Effect.map(
        receiver.until((all) => all.some((span) => span.traceId === traceId && span.kind === "server")),
        (all) => all.filter((span) => span.traceId === traceId && span.kind === "server")
      )
      assert.deepStrictEqual(span, {
        traceId,
        spanId: span?.spanId ?? "",
        parentSpanId: parentId,
        name: "GET /api/v1/models/:model",
        kind: "server",
        attributes: {
          "http.request.method": "GET",
          "url.path": "/api/v1/models/iris",
          "url.scheme": "http",
          "user_agent.original": "node",
          "http.route": "/api/v1/models/:model",
          "http.response.status_code": "200"
        },
        isError: false,
        service: "maas"
      })
    }))

  it.effect("hold calls on the express lane, with what the model's process took", () =>
    Effect.gen(function*() {
      const { program, receiver } = yield* Observed
      const { parentId, traceId, traceparent } = newTrace()
      assert.strictEqual((yield* request(program, "POST", infer, { json: good, headers: { traceparent } })).status, 200)
      const spans = yield* receiver.until((all) =>
        holds(all.filter((span) => span.traceId === traceId), ["POST /v2/models/:model/infer", "ModelRuntime.infer"])
      )
      const server = spans.filter((span) => span.traceId === traceId && span.kind === "server")
      assert.deepStrictEqual(server.map(({ parentSpanId }) => parentSpanId), [parentId])
    }))

  it.effect("hold a call once that leaves the express lane", () =>
    Effect.gen(function*() {
      const { program, receiver } = yield* Observed
      const { traceId, traceparent } = newTrace()
      const answer = yield* request(program, "POST", "/api/v1/inference", {
        json: { model: "nobody", ...good },
        headers: { traceparent }
      })
      assert.strictEqual(answer.status, 404)
      assert.strictEqual((yield* Schema.decodeUnknownEffect(Problem)(answer.json)).traceId, traceId)
      const servers = (all: ReadonlyArray<Span>) =>
        all.filter((span) => span.traceId === traceId && span.kind === "server")
      const spans = servers(yield* receiver.until((all) => servers(all).length > 0))
      assert.deepStrictEqual(
        spans.map(({ attributes, name }) => [name, attributes["http.response.status_code"]]),
        [["POST /api/v1/inference", "404"]]
      )
    }))

  it.effect("begin with a request that brings none, and its problem tells which", () =>
    Effect.gen(function*() {
      const { program, receiver } = yield* Observed
      const answer = yield* request(program, "GET", "/api/v1/models/nobody-there")
      const { traceId } = yield* Schema.decodeUnknownEffect(Problem)(answer.json)
      yield* receiver.until((all) =>
        all.some((span) => span.traceId === traceId && span.parentSpanId === "" && span.kind === "server")
      )
    }))

  it.effect("leave out what a caller decided not to record, probes, and what looks by a clock", () =>
    Effect.gen(function*() {
      const { program, receiver } = yield* Observed
      const { traceId, traceparent } = newTrace()
      const unsampled = traceparent.replace(/01$/, "00")
      yield* request(program, "GET", "/api/v1/models/iris", { headers: { traceparent: unsampled } })
      yield* request(program, "POST", infer, { json: good, headers: { traceparent: unsampled } })
      yield* request(program, "GET", "/ready")
      yield* request(program, "GET", "/metrics")
      // What comes later is sent later
      const last = newTrace()
      yield* request(program, "GET", "/api/v1/models/iris", { headers: { traceparent: last.traceparent } })
      const spans = yield* receiver.until((all) => all.some((span) => span.traceId === last.traceId))
      assert.deepStrictEqual(spans.filter((span) => span.traceId === traceId), [])
      assert.deepStrictEqual(
        spans.filter(({ parentSpanId }) => parentSpanId === "").filter(({ kind, name }) =>
          kind !== "server" || /ready|metrics/.test(name)
        ),
        []
      )
    }))

  it.effect("stand beside metrics that count requests by route and status, never by what a caller made up", () =>
    Effect.gen(function*() {
      const { program } = yield* Observed
      yield* request(program, "POST", infer, { json: good })
      yield* request(program, "GET", "/api/v1/models/made-up-1")
      yield* request(program, "GET", "/made-up-2?made-up-3")
      const { text } = yield* request(program, "GET", "/metrics")
      for (
        const series of [
          /^app_request_count_total\{method="POST",endpoint="\/v2\/models\/:model\/infer",status="200"\} [1-9]/m,
          /^app_request_count_total\{method="GET",endpoint="\/api\/v1\/models\/:model",status="404"\} [1-9]/m,
          /^app_request_count_total\{method="GET",endpoint="unmatched",status="404"\} [1-9]/m,
          /^app_request_latency_seconds_bucket\{method="POST",endpoint="\/v2\/models\/:model\/infer",le="30"\} [1-9]/m,
          /^app_active_requests 1$/m,
          /^app_active_connections [1-9]/m,
          /^database_pool_connections_max\{pool="main"\} 10$/m,
          /^cache_answers_total\{cache="keys",answer="hit"\} [1-9]/m,
          /^cache_answers_total\{cache="deployments",answer="hit"\} [0-9]/m,
          /^# TYPE maas_runner_crashes_total counter$/m,
          /^maas_models_loaded 1$/m,
          /^process_resident_memory_bytes [1-9]/m
        ]
      ) assert.match(text, series)
      assert.notInclude(text, "made-up")
    }))
})

/** How many spans were dropped for this reason. */
const dropped = (program: Program.Program, reason: string) =>
  Effect.map(
    request(program, "GET", "/metrics"),
    ({ text }) =>
      Number(
        new RegExp(`^telemetry_dropped_total\\{signal="traces",reason="${reason}"\\} ([0-9]+)$`, "m").exec(text)?.[1]
      )
  )

describe("traces of the platform as four processes", () => {
  it.live("hold a request whole, from the gateway to the model that it made or asked", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.start
      const { gateway } = yield* startRoles(at(receiver))
      const wayOf = (traceId: string, ways: ReadonlyArray<ReadonlyArray<SpanTree.Step>>) =>
        receiver.until((all) => {
          const spans = all.filter((span) => span.traceId === traceId)
          return ways.every((way) => holds(spans, way))
        })
      const created = newTrace()
      const body = new FormData()
      body.set("name", "iris")
      body.set("file", new Blob([yield* fixture("good/iris-logreg.onnx")]))
      const { status } = yield* request(gateway, "POST", "/api/v1/models", {
        body,
        headers: { traceparent: created.traceparent }
      })
      assert.strictEqual(status, 201)
      const saga: ReadonlyArray<SpanTree.Step> = [
        ["maas-gateway", "POST /api/v1/models"],
        ["maas-gateway", "POST"],
        ["maas-registry", "POST /api/v1/models"],
        "create_model"
      ]
      const event: ReadonlyArray<SpanTree.Step> = ["publish_event", ["maas-processor", "process model-events"]]
      const stages: ReadonlyArray<SpanTree.Step> = [...event, "validate", ...event, "convert", ...event, "deploy"]
      const spans = yield* wayOf(created.traceId, [
        [...saga, "save_to_db"],
        [...saga, "allocate_storage"],
        [...saga, ...stages, ["maas-runtime", "ModelRuntime.deploy"]]
      ])
      assert.isTrue(spans.some(({ attributes, kind, traceId }) =>
        traceId === created.traceId && kind === "client" && attributes["db.system.name"] === "postgresql"
      ))

      yield* request(gateway, "GET", "/api/v1/models/iris/versions/1?wait=60s")
      const asked = newTrace()
      const answer = yield* request(gateway, "POST", infer, { json: good, headers: { traceparent: asked.traceparent } })
      assert.strictEqual(answer.status, 200)
      yield* wayOf(asked.traceId, [[
        ["maas-gateway", "POST /v2/models/:model/infer"],
        ["maas-gateway", "POST"],
        ["maas-runtime", "POST /v2/models/:model/infer"],
        ["maas-runtime", "ModelRuntime.infer"]
      ]])

      // A decision not to record holds for all of them
      const unasked = newTrace()
      yield* request(gateway, "POST", infer, {
        json: good,
        headers: { traceparent: unasked.traceparent.replace(/01$/, "00") }
      })
      const last = newTrace()
      yield* request(gateway, "POST", infer, { json: good, headers: { traceparent: last.traceparent } })
      const all = yield* wayOf(last.traceId, [[["maas-gateway", "POST /v2/models/:model/infer"]]])
      assert.deepStrictEqual(
        all.filter(({ traceId }) =>
          traceId === unasked.traceId
        ),
        []
      )
    }))
})

describe("traces", () => {
  it.live(
    "are begun for the share of requests that is set and for those that a caller records, and sent to the last",
    () =>
      Effect.gen(function*() {
        const receiver = yield* OtlpReceiver.start
        const program = yield* start({
          ...at(receiver),
          OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
          OTEL_TRACES_SAMPLER_ARG: "0",
          OTEL_BSP_SCHEDULE_DELAY: "600000",
          OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=a%20b",
          OTEL_SERVICE_NAME: "our-models",
          OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test"
        })
        const { traceId, traceparent } = newTrace()
        yield* request(program, "GET", "/api/v1/models")
        yield* request(program, "GET", "/api/v1/models", { headers: { traceparent } })
        assert.deepStrictEqual(receiver.spans, [])
        assert.strictEqual(yield* end(program, "SIGTERM"), 0)
        assert.deepStrictEqual(new Set(receiver.spans.map((span) => span.traceId)), new Set([traceId]))
        assert.isTrue(
          receiver.spans.some(({ name, service }) => name === "GET /api/v1/models" && service === "our-models")
        )
        assert.isTrue(receiver.requests.every(({ headers }) => headers["x-tenant"] === "a b"))
        const logs = JSON.stringify(receiver.logs)
        assert.match(logs, /"severityText":"INFO","body":\{"stringValue":"Listening on http/)
        assert.include(logs, `{"key":"service.name","value":{"stringValue":"our-models"}}`)
      })
  )

  it.live("of a collector that is away are dropped and counted, and keep nobody waiting", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.start
      yield* receiver.become("refuses")
      const program = yield* start({
        ...at(receiver),
        OTEL_BSP_MAX_QUEUE_SIZE: "4",
        OTEL_EXPORTER_OTLP_TIMEOUT: "60000"
      })
      const ask = Effect.map(
        request(program, "GET", "/api/v1/models"),
        ({ status }) => assert.strictEqual(status, 200)
      )
      yield* ask
      const first = yield* Effect.repeat(dropped(program, "export_failed"), { until: (count) => count > 0 })
      yield* ask
      yield* Effect.repeat(dropped(program, "export_failed"), { until: (count) => count > first })
      assert.strictEqual(program.output().split("The collector does not take traces").length, 2)

      yield* receiver.become("hangs")
      const before = yield* dropped(program, "queue_full")
      yield* Effect.forEach(Array.from({ length: 50 }), () => ask)
      assert.isAtLeast(yield* dropped(program, "queue_full"), before + 50)
      // In its own time, which is shorter than what the collector has
      assert.strictEqual(yield* end(program, "SIGTERM"), 0)
      assert.match(program.output(), /of the last traces could not be sent/)
    }))
})

RedisServer.describeWithRedis("traces", () => {
  it.live("hold what Redis is asked", () =>
    Effect.gen(function*() {
      const receiver = yield* OtlpReceiver.start
      const redis = yield* RedisServer.start()
      const program = yield* start({
        ...at(receiver),
        REDIS_URL: Redacted.value(redis.url),
        MAAS_LIMIT_MODELS_READ: "1000/minute"
      })
      yield* request(program, "GET", "/api/v1/models")
      const spans = yield* receiver.until((all) => holds(all, ["GET /api/v1/models", "EVALSHA"]))
      const asked = spans.find(({ name }) => name === "EVALSHA")
      assert.deepStrictEqual([asked?.kind, asked?.attributes], ["client", {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "server.address": "127.0.0.1",
        "server.port": String(redis.port)
      }])
    }))
})
