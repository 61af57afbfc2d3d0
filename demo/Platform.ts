/** The platform as five processes: two gateways, and a registry, a runtime and a processor behind them. */
import { Array as Arr, Effect, Schema, Scope } from "effect"
import { ask, read } from "./Http.ts"
import type { Answer, Ask } from "./Http.ts"
import type { Running } from "./Processes.ts"
import * as Processes from "./Processes.ts"
import { answers, freePort, root, secret } from "./Servers.ts"

export interface Servers {
  readonly databaseUrl: string
  readonly kafkaBrokers: string | undefined
  readonly redisUrl: string | undefined
  readonly collector: string | undefined
}

type Role = "gateway" | "registry" | "runtime" | "processor"

export interface Process extends Running {
  readonly name: string
  readonly role: Role
  readonly url: string
  /** Starts it again, at its old address. */
  readonly again: Effect.Effect<Process, Processes.ProcessFailed>
}

export interface Platform {
  readonly gateways: readonly [Process, ...Array<Process>]
  readonly registry: Process
  readonly runtime: Process
  readonly processor: Process
}

const given = (name: string, value: string | undefined): Readonly<Record<string, string>> =>
  value === undefined ? {} : { [name]: value }

/** A key for the demo, whose plan has no limit, beside the admin's, which has the usual ones. */
export const plan = "unlimited"

export const adminKey = `maas_${secret()}`

/** Migrates the database and starts every role; they share one folder of artifacts. */
export const start = Effect.fnUntraced(function*(servers: Servers, directory: string) {
  const scope = yield* Effect.scope
  const [registryPort, runtimePort, processorPort] = yield* Effect.all([freePort, freePort, freePort])
  // Without Redis two gateways would count apart
  const gatewayNames = servers.redisUrl === undefined ? Arr.of("gateway") : Arr.make("gateway 1", "gateway 2")
  const common = {
    MAAS_DATA_DIR: `${directory}/data`,
    MAAS_INTERNAL_SECRET: secret(),
    LOG_FORMAT: "json",
    MAAS_LIMIT_PLANS: JSON.stringify({
      [plan]: { "models-read": "off", inference: "off", writes: "off", other: "off" }
    }),
    OTEL_TRACES_SAMPLER: "parentbased_always_on",
    OTEL_BSP_SCHEDULE_DELAY: "500",
    // Jaeger takes no logs
    OTEL_LOGS_EXPORTER: "none",
    ...given("OTEL_EXPORTER_OTLP_ENDPOINT", servers.collector),
    ...given("REDIS_URL", servers.redisUrl)
  }
  const behind = { DATABASE_URL: servers.databaseUrl, ...given("KAFKA_BROKERS", servers.kafkaBrokers) }
  const registryUrl = `http://127.0.0.1:${registryPort}`
  const runtimeUrl = `http://127.0.0.1:${runtimePort}`

  const launch = (role: Role, port: number, name: string = role): Effect.Effect<Process, Processes.ProcessFailed> =>
    Scope.provide(launchIn(role, port, name), scope)

  const launchIn = Effect.fnUntraced(function*(role: Role, port: number, name: string) {
    const process = yield* Processes.start({
      name,
      command: "sh",
      args: [`${root}/scripts/node`, `${root}/src/main.ts`, "serve", "--role", role],
      environment: {
        ...common,
        ...(role === "gateway" ? {} : behind),
        ...(role === "runtime" ? {} : { MAAS_RUNTIME_URL: runtimeUrl }),
        ...(role === "gateway" ? { MAAS_REGISTRY_URL: registryUrl } : {}),
        ...(role === "registry" ? { MAAS_ADMIN_KEY: adminKey } : {}),
        PORT: String(port),
        OTEL_SERVICE_NAME: `maas-${role}`
      }
    })
    const url = `http://127.0.0.1:${port}`
    yield* Processes.untilReady(name, process, answers(name, `${url}/ready`))
    return { ...process, name, role, url, again: Effect.suspend(() => launch(role, port, name)) }
  })

  const migration = yield* Processes.start({
    name: "maas migrate",
    command: "sh",
    args: [`${root}/scripts/node`, `${root}/src/main.ts`, "migrate"],
    environment: { ...common, ...behind }
  })
  yield* Effect.timeout(migration.ended, "60 seconds")
  const [registry, runtime] = yield* Effect.all([launch("registry", registryPort), launch("runtime", runtimePort)], {
    concurrency: 2
  })
  const processor = yield* launch("processor", processorPort)
  const gateways = yield* Effect.forEach(
    gatewayNames,
    (name) => Effect.flatMap(freePort, (port) => launch("gateway", port, name))
  )
  return { gateways, registry, runtime, processor } satisfies Platform
})

/** A caller of a gateway with a key. */
export const caller = (url: string, key: string) => (path: string, request: Ask = {}): Effect.Effect<Answer, never> =>
  Effect.orDie(ask(`${url}${path}`, { ...request, headers: { authorization: `Bearer ${key}`, ...request.headers } }))

export type Call = ReturnType<typeof caller>

const Key = Schema.Struct({ key: Schema.String })

/** A key with the scope of inference; on the unlimited plan, or with everybody's limits. */
export const newKey = (call: Call, name: string, on: typeof plan | undefined) =>
  call("/api/v1/admin/keys", {
    method: "POST",
    json: { name, scopes: ["inference", "models:read"], ...(on === undefined ? {} : { plan: on }) }
  }).pipe(Effect.flatMap(read(Key)), Effect.map(({ key }) => key))

export const iris = { name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }

export const infer = (call: Call, model: string) =>
  call("/api/v1/inference", { method: "POST", json: { model, inputs: [iris] } })

/** The value of a metric of a process, summed over its series that have all these labels. */
export const metric = Effect.fnUntraced(function*(process: Process, name: string, labels: ReadonlyArray<string> = []) {
  const { text } = yield* ask(`${process.url}/metrics`)
  return text.split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0)
})
