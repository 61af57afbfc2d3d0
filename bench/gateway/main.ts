/**
 * `npm run bench:gateway`: what the way through a gateway costs. One real PostgreSQL, the four roles, the platform in one
 * process, and the same read in Python (`bench/peers/models_api.py`), round after round in turn.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Layer, Redacted, Schedule } from "effect"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as SecureRandomNode from "../../src/layers/crypto/SecureRandomNode.ts"
import * as EmbeddedPostgres from "../../src/layers/embedded/EmbeddedPostgres.ts"
import { infer, load } from "../Load.ts"
import { residentMiB, startFastApi, startRole } from "../Server.ts"
import type { Server } from "../Server.ts"

const key = "maas_bench-key-0123456789"
const secret = "bench-internal-secret-0123456789-abc"
const rounds = Number(process.env["BENCH_ROUNDS"] ?? 5)
const seconds = Number(process.env["BENCH_SECONDS"] ?? 4)
const connections = 32
const root = join(import.meta.dirname, "../..")

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0

const directory = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "maas-bench-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
)

const run = (program: string, ...args: ReadonlyArray<string>) =>
  Effect.promise(() => promisify(execFile)(program, args, { maxBuffer: 1e8 }))

/** A Python of its own, with what the peer needs, kept between runs. */
const python = Effect.gen(function*() {
  const folder = join(root, "node_modules/.cache/peers-python")
  const binary = join(folder, "bin/python")
  if (!existsSync(binary)) yield* run("python3", "-m", "venv", folder)
  yield* run(binary, "-m", "pip", "install", "--quiet", "-r", join(root, "bench/peers/requirements.txt"))
  return binary
})

/** As a gateway calls the runtime. */
const asGateway = {
  authorization: `Bearer ${secret}`,
  "x-maas-caller": Buffer.from(JSON.stringify({
    keyId: "01890a5d-ac96-774b-bcce-b302099a8057",
    name: "bench",
    scopes: ["admin"],
    plan: null
  })).toString("base64url")
}

const upload = Effect.fnUntraced(function*({ url }: Server) {
  const form = new FormData()
  form.set("name", "iris-logreg")
  form.set(
    "file",
    new Blob([yield* Effect.promise(() => readFile(join(root, "test/fixtures/models/good/iris-logreg.onnx")))])
  )
  const headers = { authorization: `Bearer ${key}` }
  yield* Effect.promise(() => fetch(`${url}/api/v1/models`, { method: "POST", headers, body: form }))
  const answer = yield* Effect.promise(() => fetch(`${url}/api/v1/models/iris-logreg/versions/1?wait=60s`, { headers }))
  const text = yield* Effect.promise(() => answer.text())
  if (!text.includes("\"status\":\"ready\"")) return yield* Effect.die(`the model is not ready: ${text}`)
})

const read = ({ url }: Server) =>
  load(
    { url: `${url}/api/v1/models/iris-logreg`, method: "GET", headers: { authorization: `Bearer ${key}` } },
    connections,
    { seconds }
  )

/** The most resident memory that a process has while something runs. */
const watched = Effect.fnUntraced(function*<A, E, R>({ pid }: Server, work: Effect.Effect<A, E, R>) {
  let most = 0
  yield* Effect.sync(() => {
    most = Math.max(most, residentMiB(pid))
  }).pipe(Effect.repeat(Schedule.spaced("100 millis")), Effect.forkScoped)
  const result = yield* work
  return { result, most }
}, Effect.scoped)

const program = Effect.gen(function*() {
  yield* Console.log("getting Python's packages …")
  const interpreter = yield* python
  yield* Console.log("starting PostgreSQL, the roles and the peer …")
  const data = yield* directory
  const database = yield* EmbeddedPostgres.start({ directory: join(data, "postgres") })
  const environment = {
    DATABASE_URL: Redacted.value(database.url),
    MAAS_DATA_DIR: join(data, "data"),
    MAAS_ADMIN_KEY: key,
    MAAS_INTERNAL_SECRET: secret
  }
  const runtime = yield* startRole("runtime", environment)
  const behind = { ...environment, MAAS_RUNTIME_URL: runtime.url }
  const registry = yield* startRole("registry", behind)
  yield* startRole("processor", behind)
  const gateway = yield* startRole("gateway", {
    MAAS_REGISTRY_URL: registry.url,
    MAAS_RUNTIME_URL: runtime.url,
    MAAS_INTERNAL_SECRET: secret
  })
  yield* Effect.sleep("3 seconds")
  const idle = residentMiB(gateway.pid)
  yield* upload(gateway)
  const all = yield* startRole("all", environment)
  const fastApi = yield* startFastApi(interpreter, environment)

  yield* Console.log("warming up …")
  yield* infer(runtime.url, asGateway, connections, { seconds })
  yield* infer(gateway.url, key, connections, { seconds })
  yield* Effect.forEach([gateway, all, fastApi], read)

  const inferring = yield* watched(
    gateway,
    Effect.forEach(Array.from({ length: rounds }), () =>
      Effect.gen(function*() {
        const direct = yield* infer(runtime.url, asGateway, connections, { seconds })
        const through = yield* infer(gateway.url, key, connections, { seconds })
        return { direct, through }
      }))
  )
  const reading = yield* watched(
    gateway,
    Effect.forEach(Array.from({ length: rounds }), () =>
      Effect.gen(function*() {
        const theirs = yield* read(fastApi)
        const through = yield* read(gateway)
        const alone = yield* read(all)
        return { theirs, through, alone }
      }))
  )

  const rate = (loads: ReadonlyArray<{ readonly rate: number }>) => median(loads.map(({ rate }) => rate)).toFixed(0)
  const direct = inferring.result.map(({ direct }) => direct)
  const through = inferring.result.map(({ through }) => through)
  const theirs = reading.result.map(({ theirs }) => theirs)
  const ratio = (which: "through" | "alone") =>
    median(reading.result.map((round) => round[which].rate / round.theirs.rate)).toFixed(1)
  const ratesOf = (which: "through" | "alone") => rate(reading.result.map((round) => round[which]))
  const rows: ReadonlyArray<readonly [string, string, string]> = [
    [
      "infer through gateway and runtime, 32 connections, to the runtime alone",
      `**${median(inferring.result.map(({ direct, through }) => through.rate / direct.rate)).toFixed(2)}** (${
        rate(through)
      }/s to ${rate(direct)}/s)`,
      "≥ 0.4"
    ],
    [
      "read a model, in one process, to FastAPI, slowapi, pybreaker and asyncpg",
      `**${ratio("alone")}** (${ratesOf("alone")}/s to ${rate(theirs)}/s)`,
      "≥ 4"
    ],
    [
      "read a model, through gateway and registry, to the same",
      `**${ratio("through")}** (${ratesOf("through")}/s to ${rate(theirs)}/s)`,
      "≥ 4"
    ],
    ["resident memory of a gateway, idle", `${idle.toFixed(0)} MiB`, "< 128 MiB"],
    [
      "resident memory of a gateway, the most under both loads",
      `${Math.max(inferring.most, reading.most).toFixed(0)} MiB`,
      "< 256 MiB"
    ]
  ]
  yield* Console.log(
    ["", "| figure | measured | wanted |", "| --- | --- | --- |", ...rows.map((row) => `| ${row.join(" | ")} |`)]
      .join("\n")
  )
  const failed = [
    ...direct,
    ...through,
    ...reading.result.flatMap(({ alone, theirs, through }) => [alone, theirs, through])
  ]
    .reduce((sum, one) => sum + one.failed, 0)
  if (failed > 0) yield* Console.log(`\n${failed} requests failed`)
})

const services = Layer.merge(NodeServices.layer, SecureRandomNode.layer)

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(services)))
