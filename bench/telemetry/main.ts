/**
 * `npm run bench:telemetry`: what traces, metrics and logs cost. The program with all of them - a tenth of the requests
 * traced to a collector, metrics scraped every two seconds, logs as JSON and to the collector - beside the program with
 * none of them, round after round in turn.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect } from "effect"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { freePort } from "../../test/support/FreePort.ts"
import { infer } from "../Load.ts"
import { cpuSeconds, startMaas } from "../Server.ts"
import type { Server } from "../Server.ts"

const key = "maas_bench-key-0123456789"
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 7)
const seconds = Number(process.env["BENCH_SECONDS"] ?? 4)
const model = join(import.meta.dirname, "../../test/fixtures/models/good/iris-logreg.onnx")

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0

const directory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "maas-bench-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
)

/** Takes everything and keeps nothing. */
const collector = Effect.gen(function*() {
  let bytes = 0
  const server = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => bytes += chunk.length)
    request.on("end", () => response.end())
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.closeAllConnections()
        server.close()
      })
  )
  const address = server.address()
  return { url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`, bytes: () => bytes }
})

const upload = Effect.fnUntraced(function*({ url }: Server) {
  const form = new FormData()
  form.set("name", "iris-logreg")
  form.set("file", new Blob([yield* Effect.promise(() => readFile(model))]))
  const headers = { authorization: `Bearer ${key}` }
  yield* Effect.promise(() => fetch(`${url}/api/v1/models`, { method: "POST", headers, body: form }))
  yield* Effect.promise(() => fetch(`${url}/api/v1/models/iris-logreg/versions/1?wait=60s`, { headers }))
})

/** The load, and what a request took of the processors, in microseconds: that says more on a busy machine. */
const measure = Effect.fnUntraced(function*({ pid, url }: Server) {
  const before = cpuSeconds(pid)
  const load = yield* infer(url, key, 32, { seconds })
  return { ...load, cost: (cpuSeconds(pid) - before) * 1e6 / (load.rate * seconds) }
})

const scrape = ({ url }: Server) =>
  Effect.promise(() => fetch(`${url}/metrics`).then((answer) => answer.text())).pipe(
    Effect.andThen(Effect.sleep("2 seconds")),
    Effect.forever,
    Effect.forkScoped
  )

const program = Effect.gen(function*() {
  const { bytes, url } = yield* collector
  yield* Console.log("starting both …")
  const none = yield* startMaas(join(yield* directory, "data"), key, {
    env: { OTEL_SDK_DISABLED: "true", LOG_LEVEL: "None" },
    flags: ["--import", join(import.meta.dirname, "NoMetrics.ts")],
    port: yield* freePort
  })
  const all = yield* startMaas(join(yield* directory, "data"), key, {
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: url,
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: process.env["BENCH_RATIO"] ?? "0.1",
      LOG_LEVEL: "Info"
    }
  })
  yield* upload(none)
  yield* upload(all)
  yield* Console.log("warming up …")
  yield* infer(none.url, key, 32, { seconds })
  yield* infer(all.url, key, 32, { seconds })
  const results = yield* Effect.forEach(Array.from({ length: rounds }), (_, round) =>
    Effect.gen(function*() {
      const ofNone = measure(none)
      const ofAll = Effect.scoped(Effect.andThen(scrape(all), measure(all)))
      // Who begins changes, so that neither always comes after the other
      const [first, second] = round % 2 === 0 ? [ofNone, ofAll] : [ofAll, ofNone]
      const [one, other] = [yield* first, yield* second]
      return round % 2 === 0 ? { none: one, all: other } : { none: other, all: one }
    }))
  const failed = results.reduce((sum, { all, none }) => sum + all.failed + none.failed, 0)
  const [with_, without] = [median(results.map(({ all }) => all.rate)), median(results.map(({ none }) => none.rate))]
  const ratio = median(results.map(({ all, none }) => all.rate / none.rate))
  yield* Console.log(
    [
      "",
      "| figure | measured | wanted |",
      "| --- | --- | --- |",
      `| infer, 32 connections, with traces (10 %), metrics and logs to without any | **${ratio.toFixed(3)}** (${
        with_.toFixed(0)
      }/s to ${without.toFixed(0)}/s) | ≥ 0.85 |`,
      `| the same, by what a request takes of the processors | ${
        median(results.map(({ all, none }) => none.cost / all.cost)).toFixed(3)
      } (${median(results.map(({ all }) => all.cost)).toFixed(0)} µs to ${
        median(results.map(({ none }) => none.cost)).toFixed(0)
      } µs) | |`,
      "",
      `Rounds: ${results.map(({ all, none }) => (all.rate / none.rate).toFixed(2)).join(", ")}. The collector took ${
        (bytes() / 1e6).toFixed(1)
      } MB.`
    ].join("\n")
  )
  if (failed > 0) yield* Console.log(`\n${failed} requests failed`)
})

NodeRuntime.runMain(Effect.scoped(program))
