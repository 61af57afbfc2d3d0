/**
 * The figures of the README: `npm run bench`. Everything is measured in this one run on this machine; rates are
 * compared side by side, round after round, and the medians of the rounds are shown.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect } from "effect"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { infer } from "./Load.ts"
import { residentMiB, startBare, startMaas } from "./Server.ts"

const key = "maas_bench-key-0123456789"
const rounds = 5
const seconds = 4
const uploads = 20
const model = join(import.meta.dirname, "../test/fixtures/models/good/iris-logreg.onnx")

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0

const directory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "maas-bench-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
)

/** Milliseconds from the first byte of the upload to a version that is ready. */
const uploadToReady = Effect.fnUntraced(function*(url: string, name: string, bytes: Uint8Array<ArrayBuffer>) {
  const form = new FormData()
  form.set("name", name)
  form.set("file", new Blob([bytes]))
  const headers = { authorization: `Bearer ${key}` }
  const started = performance.now()
  yield* Effect.promise(() => fetch(`${url}/api/v1/models`, { method: "POST", headers, body: form }))
  const answer = yield* Effect.promise(() => fetch(`${url}/api/v1/models/${name}/versions/1?wait=60s`, { headers }))
  const text = yield* Effect.promise(() => answer.text())
  if (!text.includes("\"status\":\"ready\"")) return yield* Effect.die(`${name} is not ready: ${text}`)
  return performance.now() - started
})

const program = Effect.gen(function*() {
  const data = join(yield* directory, "data")
  yield* Console.log("starting on a new database …")
  // Twice in folders of their own: the first fills the cache of compiled code
  yield* Effect.scoped(startMaas(join(yield* directory, "data"), key))
  const cold = yield* Effect.scoped(startMaas(data, key))
  const warm = yield* Effect.scoped(startMaas(data, key))

  const maas = yield* startMaas(data, key)
  const bare = yield* startBare
  const bytes = new Uint8Array(yield* Effect.promise(() => readFile(model)))
  yield* Console.log("uploading …")
  const first = yield* uploadToReady(maas.url, "iris-logreg", bytes)
  const ready = yield* Effect.forEach(
    Array.from({ length: uploads }, (_, index) => `upload-${index}`),
    (name) => uploadToReady(maas.url, name, bytes)
  )

  yield* Console.log("inferring …")
  const before = residentMiB(maas.pid)
  yield* infer(maas.url, key, 32, { requests: 10_000 })
  const after10k = residentMiB(maas.pid)
  const results = yield* Effect.forEach(Array.from({ length: rounds }), () =>
    Effect.gen(function*() {
      const ours = yield* infer(maas.url, key, 32, { seconds })
      const theirs = yield* infer(bare.url, key, 32, { seconds })
      const eight = yield* infer(maas.url, key, 8, { seconds: 2 })
      return { ours, theirs, eight }
    }))
  const afterRounds = residentMiB(maas.pid)
  yield* infer(maas.url, key, 32, { requests: 100_000 })
  const after100k = residentMiB(maas.pid)
  const failed = results.reduce((sum, { ours, eight }) => sum + ours.failed + eight.failed, 0)

  const rate = median(results.map(({ ours }) => ours.rate))
  const bareRate = median(results.map(({ theirs }) => theirs.rate))
  const ratio = median(results.map(({ ours, theirs }) => ours.rate / theirs.rate))
  const rows: ReadonlyArray<readonly [string, string, string]> = [
    [
      "upload to ready, iris-logreg, p50 of 20",
      `${median(ready).toFixed(0)} ms (the first ${first.toFixed(0)} ms)`,
      "< 1,000 ms"
    ],
    [
      "infer, 32 connections, to a bare node:http server",
      `${ratio.toFixed(3)} (${rate.toFixed(0)}/s to ${bareRate.toFixed(0)}/s)`,
      "≥ 0.25"
    ],
    ["infer, 8 connections, p99", `${median(results.map(({ eight }) => eight.p99)).toFixed(0)} ms`, "< 20 ms"],
    [
      "resident memory after 10,000 inferences",
      `${after10k.toFixed(0)} MiB (before: ${before.toFixed(0)})`,
      "< 200 MiB"
    ],
    [
      "resident memory before and after 100,000 more",
      `${afterRounds.toFixed(0)} → ${after100k.toFixed(0)} MiB`,
      "not growing"
    ],
    ["start to listening, warm", `${warm.startMillis.toFixed(0)} ms`, "< 3,000 ms"],
    ["start to listening, new database", `${cold.startMillis.toFixed(0)} ms`, "< 10,000 ms"]
  ]
  yield* Console.log(
    ["", "| figure | measured | wanted |", "| --- | --- | --- |", ...rows.map((row) => `| ${row.join(" | ")} |`)].join(
      "\n"
    )
  )
  if (failed > 0) yield* Console.log(`\n${failed} requests failed`)
})

NodeRuntime.runMain(Effect.scoped(program))
