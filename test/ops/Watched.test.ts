/** A real Prometheus and a real Alertmanager watch the running program, by the files of `ops`. */
import { assert, it } from "@effect/vitest"
import { Effect, Redacted, Schedule, Schema } from "effect"
import { readFileSync } from "node:fs"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { rows } from "../../ops/grafana/Panels.ts"
import { freePort } from "../support/FreePort.ts"
import { describeWith, serve } from "../support/OpsTools.ts"
import { freshDatabase } from "../support/Postgres.ts"
import * as Program from "../support/Program.ts"
import { deploy, fixture, request } from "../support/Program.ts"

const ops = join(import.meta.dirname, "../../ops")
const read = (path: string) => readFileSync(join(ops, path), "utf8")

/** As operators have them, but in seconds instead of minutes. */
const rules = read("prometheus/rules.yaml").replaceAll(/ for: \d+m/g, " for: 3s")

interface Expression {
  readonly what: string
  readonly expr: string
}

/** Each alert without its threshold: whether it holds is told as 0 or 1, and no series drops out. */
const ofRules: ReadonlyArray<Expression> = rules.split(/^ {6}- (?=alert|record)/m).slice(1).map((rule) => {
  const what = /^(?:alert|record): (.+)$/m.exec(rule)?.[1] ?? ""
  const block = /^ {8}expr: \|\n((?: {10}.*\n)+)/m.exec(rule)?.[1]
  const expr = block ?? /^ {8}expr: (.+)$/m.exec(rule)?.[1] ?? ""
  return { what, expr: rule.startsWith("alert") ? expr.replace(/ (>|==) ([0-9.]+)$/, " $1 bool $2") : expr }
})

const ofPanels: ReadonlyArray<Expression> = rows.flatMap(({ panels }) =>
  panels.flatMap(({ queries, title }) =>
    queries.map(({ expr, legend }) => ({
      what: `${title}: ${legend}`,
      expr: expr.replaceAll("$__rate_interval", "1m").replaceAll("$role", ".*")
    }))
  )
)

const Answer = Schema.Union([
  Schema.Struct({
    status: Schema.Literal("success"),
    data: Schema.Struct({ result: Schema.Array(Schema.Unknown) })
  }),
  Schema.Struct({ status: Schema.Literal("error"), error: Schema.String })
])

const ask = Effect.fnUntraced(function*(prometheus: string, expr: string) {
  const response = yield* Effect.promise(() =>
    fetch(`${prometheus}/api/v1/query`, { method: "POST", body: new URLSearchParams({ query: expr }) })
  )
  const answer = yield* Effect.promise((): Promise<unknown> => response.json())
  return yield* Effect.orDie(Schema.decodeUnknownEffect(Answer)(answer))
})

/** What Alertmanager sends: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config */
const Notice = Schema.fromJsonString(Schema.Struct({
  status: Schema.Literals(["firing", "resolved"]),
  receiver: Schema.String,
  alerts: Schema.Array(Schema.Struct({
    status: Schema.String,
    labels: Schema.Record(Schema.String, Schema.String),
    annotations: Schema.Record(Schema.String, Schema.String)
  }))
}))

/** Where Alertmanager tells of alerts. */
const startWebhook = Effect.gen(function*() {
  const notices: Array<typeof Notice.Type> = []
  const port = yield* freePort
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (chunk: Buffer) => body += chunk.toString())
    request.on("end", () => {
      notices.push(Schema.decodeSync(Notice)(body))
      response.end()
    })
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(port, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
  )
  const isAbout = (alert: string) => ({ alerts }: typeof Notice.Type) =>
    alerts.some(({ labels }) => labels["alertname"] === alert)
  /** Waits until what was told of the alert, if anything, is that it is over. */
  const quiet = (alert: string) =>
    Effect.sync(() => notices.findLast(isAbout(alert))?.status).pipe(
      Effect.repeat({ until: (status) => status !== "firing", schedule: Schedule.spaced("50 millis") }),
      Effect.timeout("2 minutes")
    )
  /** A notice that came after the first `seen` ones. */
  const until = (status: "firing" | "resolved", alert: string, seen: number) =>
    Effect.sync(() => notices.slice(seen).filter(isAbout(alert)).find((notice) => notice.status === status)).pipe(
      Effect.repeat({ until: (notice) => notice !== undefined, schedule: Schedule.spaced("50 millis") }),
      Effect.timeout("2 minutes")
    )
  return { port, notices, quiet, until }
})

/** Prometheus and Alertmanager that watch what listens on the port, and tell the webhook. */
const watch = Effect.fnUntraced(function*(target: number, webhook: number) {
  const directory = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "maas-ops-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 }))
  )
  const [prometheus, alertmanager] = [yield* freePort, yield* freePort]
  const files: Readonly<Record<string, string>> = {
    "rules.yaml": rules,
    "prometheus.yaml": read("prometheus/prometheus.yaml")
      .replace("scrape_interval: 5s, evaluation_interval: 5s", "scrape_interval: 1s, evaluation_interval: 1s")
      .replace("alertmanager:9093", `127.0.0.1:${alertmanager}`)
      .replace("gateway:8000", `127.0.0.1:${target}`)
      .replaceAll(/^.*"(registry|runtime|processor):.*\n/gm, ""),
    "alertmanager.yaml": read("alertmanager/alertmanager.yaml")
      .replace("group_wait: 10s", "group_wait: 100ms")
      .replace("group_interval: 1m", "group_interval: 500ms")
      .replaceAll("127.0.0.1:9099", `127.0.0.1:${webhook}`)
  }
  yield* Effect.forEach(
    Object.entries(files),
    ([name, text]) => Effect.promise(() => writeFile(join(directory, name), text))
  )
  yield* serve("alertmanager", [
    `--config.file=${directory}/alertmanager.yaml`,
    `--storage.path=${directory}/alertmanager`,
    `--web.listen-address=127.0.0.1:${alertmanager}`,
    "--cluster.listen-address="
  ], `http://127.0.0.1:${alertmanager}/-/ready`)
  yield* serve("prometheus", [
    `--config.file=${directory}/prometheus.yaml`,
    `--storage.tsdb.path=${directory}/prometheus`,
    `--web.listen-address=127.0.0.1:${prometheus}`,
    "--log.level=error"
  ], `http://127.0.0.1:${prometheus}/-/ready`)
  return `http://127.0.0.1:${prometheus}`
})

const good = { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }

describeWith("prometheus", "alertmanager")("the program, watched", () => {
  it.live("fills every panel and every rule, and is missed when it is gone", () =>
    Effect.gen(function*() {
      const database = Redacted.value(yield* Effect.orDie(freshDatabase))
      const port = yield* freePort
      const settings = {
        PORT: `${port}`,
        DATABASE_URL: database,
        MAAS_LIMIT_INFERENCE: "1000/minute",
        // Nobody is there: what can't be sent is counted
        OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9"
      }
      const directory = yield* Program.dataDirectory
      const program = yield* Program.start(directory, settings)
      const webhook = yield* startWebhook
      const prometheus = yield* watch(port, webhook.port)

      yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
      const traffic = Effect.all([
        request(program, "POST", "/v2/models/iris/infer", { json: good }),
        request(program, "GET", "/api/v1/models"),
        request(program, "GET", "/api/v1/models/nobody")
      ], { discard: true })
      const seconds = yield* Effect.forkChild(Effect.forever(Effect.andThen(traffic, Effect.sleep("200 millis"))))

      /** Those that have no answer yet, with what Prometheus says of them. */
      const check = (expressions: ReadonlyArray<Expression>) =>
        Effect.filter(
          expressions,
          ({ expr, what }) =>
            Effect.flatMap(ask(prometheus, expr), (answer) =>
              answer.status === "error"
                ? Effect.die(new Error(`${what}: ${answer.error}`))
                : Effect.succeed(answer.data.result.length === 0)),
          { concurrency: 4 }
        )
      assert.isAtLeast(ofRules.length, 10)
      let empty: ReadonlyArray<Expression> = [...ofRules, ...ofPanels]
      yield* Effect.suspend(() => check(empty)).pipe(
        Effect.map((still) => {
          empty = still
          return still.length === 0
        }),
        Effect.repeat({ until: (all) => all, schedule: Schedule.spaced("500 millis") }),
        Effect.timeout("2 minutes"),
        Effect.mapError(() =>
          new Error(`no answer to:\n${empty.map(({ expr, what }) => `${what}: ${expr}`).join("\n")}`)
        ),
        Effect.orDie
      )
      // On a busy machine an answer to Prometheus may be late, and nothing else
      const told = webhook.notices.filter(({ receiver }) => receiver === "pager").flatMap(({ alerts }) => alerts)
      assert.deepStrictEqual(told.filter(({ labels }) => labels["alertname"] !== "TargetDown"), [])

      seconds.interruptUnsafe()
      // One that is still told of would not be told of again
      yield* webhook.quiet("TargetDown")
      const before = webhook.notices.length
      yield* Program.end(program, "SIGTERM")
      const firing = yield* webhook.until("firing", "TargetDown", before)
      assert.strictEqual(firing?.receiver, "pager")
      assert.deepStrictEqual(
        firing?.alerts.map(({ annotations }) => annotations["runbook"]),
        ["docs/runbook.md#targetdown"]
      )
      const down = webhook.notices.length
      yield* Program.start(directory, settings)
      yield* webhook.until("resolved", "TargetDown", down)
    }), 600_000)
})
