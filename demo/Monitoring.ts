/** Prometheus and Alertmanager with the rules of `ops/`, and an address where alerts arrive. */
import { Effect, FileSystem } from "effect"
import { createServer } from "node:http"
import { say } from "./Narrator.ts"
import type { Platform } from "./Platform.ts"
import * as Processes from "./Processes.ts"
import { answers, freePort, root } from "./Servers.ts"

export interface Monitoring {
  readonly prometheus: string | undefined
  /** What Alertmanager has told so far: the names of alerts, as `firing` or `resolved`. */
  readonly told: ReadonlyArray<string>
  readonly alertmanager: boolean
}

/** What arrives from Alertmanager, as `firing TargetDown`. */
const receiver = Effect.fnUntraced(function*() {
  const told: Array<string> = []
  const port = yield* Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly close: Effect.Effect<void> }>((resume) => {
      const server = createServer((request, response) => {
        let body = ""
        request.on("data", (chunk: Buffer) => body += chunk.toString())
        request.on("end", () => {
          for (
            const [, status, name] of body.matchAll(
              /"status":"(firing|resolved)","labels":\{[^}]*"alertname":"([^"]+)"/g
            )
          ) {
            told.push(`${status} ${name}`)
          }
          response.end()
        })
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = address !== null && typeof address === "object" ? address.port : 0
        const close = Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
        resume(Effect.succeed({ port, close }))
      })
    }),
    ({ close }) => close
  )
  return { told, port: port.port }
})

export const start = Effect.fnUntraced(function*(platform: Platform, directory: string) {
  const fs = yield* FileSystem.FileSystem
  const prometheus = Processes.find("prometheus")
  if (prometheus === undefined) {
    yield* say("Prometheus: not installed here, so the figures are read from /metrics")
    return { prometheus: undefined, told: [], alertmanager: false } satisfies Monitoring
  }
  const alertmanager = Processes.find("prometheus-alertmanager") ?? Processes.find("alertmanager")
  const { port, told } = yield* receiver()
  const [prometheusPort, alertmanagerPort] = yield* Effect.all([freePort, freePort])
  if (alertmanager !== undefined) {
    yield* fs.writeFileString(
      `${directory}/alertmanager.json`,
      JSON.stringify({
        route: {
          receiver: "demo",
          group_by: ["alertname"],
          group_wait: "0s",
          group_interval: "1s",
          repeat_interval: "1h"
        },
        receivers: [{ name: "demo", webhook_configs: [{ url: `http://127.0.0.1:${port}/`, send_resolved: true }] }]
      })
    )
    const process = yield* Processes.start({
      name: "Alertmanager",
      command: alertmanager,
      args: [
        `--config.file=${directory}/alertmanager.json`,
        `--storage.path=${directory}/alertmanager`,
        `--web.listen-address=127.0.0.1:${alertmanagerPort}`,
        "--cluster.listen-address="
      ]
    })
    yield* Processes.untilReady(
      "Alertmanager",
      process,
      answers("Alertmanager", `http://127.0.0.1:${alertmanagerPort}/-/ready`)
    )
  }
  // The rules as they are shipped, except that an alert need not last for minutes before it fires
  const rules = yield* fs.readFileString(`${root}/ops/prometheus/rules.yaml`)
  yield* fs.writeFileString(`${directory}/rules.yaml`, rules.replaceAll(/^(\s*for:) \S+$/gm, "$1 2s"))
  const { gateways, processor, registry, runtime } = platform
  yield* fs.writeFileString(
    `${directory}/prometheus.json`,
    JSON.stringify({
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: [`${directory}/rules.yaml`],
      ...(alertmanager === undefined ? {} : {
        alerting: { alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertmanagerPort}`] }] }] }
      }),
      scrape_configs: [{
        job_name: "maas",
        static_configs: [...gateways, registry, runtime, processor].map(({ role, url }) => ({
          targets: [url.replace("http://", "")],
          labels: { role }
        }))
      }]
    })
  )
  const url = `http://127.0.0.1:${prometheusPort}`
  const process = yield* Processes.start({
    name: "Prometheus",
    command: prometheus,
    args: [
      `--config.file=${directory}/prometheus.json`,
      `--storage.tsdb.path=${directory}/prometheus`,
      `--web.listen-address=127.0.0.1:${prometheusPort}`
    ]
  })
  yield* Processes.untilReady("Prometheus", process, answers("Prometheus", `${url}/-/ready`))
  yield* say(
    alertmanager === undefined
      ? "Prometheus: a real server; Alertmanager is not installed here, so alerts are read from Prometheus"
      : "Prometheus and Alertmanager: real servers"
  )
  return { prometheus: url, told, alertmanager: alertmanager !== undefined } satisfies Monitoring
})
