/** The servers that the platform speaks to: real ones where this machine has them; what stands in for the others is said. */
import { Effect, FileSystem, Path, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import * as EmbeddedPostgres from "../src/layers/embedded/EmbeddedPostgres.ts"
import { FreePort } from "../src/layers/embedded/FreePort.ts"
import { ask } from "./Http.ts"
import { eventually, say } from "./Narrator.ts"
import * as Processes from "./Processes.ts"

export const root = `${import.meta.dirname}/..`

export const freePort = Effect.flatten(FreePort)

/** Waits until the address answers with a success. */
export const answers = (what: string, url: string) =>
  eventually(
    `${what} answers`,
    Effect.map(Effect.option(ask(url)), (answer) =>
      answer._tag === "Some" && answer.value.status < 300 ? true : undefined),
    "60 seconds"
  )

export const postgres = Effect.fnUntraced(function*(directory: string) {
  const { url } = yield* EmbeddedPostgres.start({ directory: `${directory}/postgres` })
  yield* say("PostgreSQL: a real server, the embedded one")
  return Redacted.value(url)
})

/** A broker from Kafka's own jars, or undefined: then events go through PostgreSQL. */
export const kafka = Effect.fnUntraced(function*(directory: string) {
  if (Processes.find("java") === undefined) {
    yield* say("Kafka: no Java here, so the event log inside PostgreSQL stands in for it")
    return undefined
  }
  const port = yield* freePort
  const controller = yield* freePort
  const node = yield* Processes.start({
    name: "Kafka",
    command: "sh",
    args: [`${root}/scripts/kafka`, "keep"],
    environment: {
      KAFKA_PORT: String(port),
      KAFKA_CONTROLLER_PORT: String(controller),
      KAFKA_DATA: `${directory}/kafka`
    },
    keepsInput: true
  })
  const ready = eventually(
    "Kafka starts",
    Effect.sync(() => node.output().includes("done\n") ? true : undefined),
    "3 minutes"
  )
  yield* Processes.untilReady("Kafka", node, ready)
  yield* say("Kafka: a real broker (KRaft)")
  return `127.0.0.1:${port}`
})

/** Undefined where there is no server: then each gateway counts for itself. */
export const redis = Effect.gen(function*() {
  const command = Processes.find("redis-server")
  if (command === undefined) {
    yield* say("Redis: no redis-server here, so the scene has one gateway, which counts for itself")
    return undefined
  }
  const port = yield* freePort
  const server = yield* Processes.start({
    name: "Redis",
    command,
    args: ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
  })
  const ready = eventually(
    "Redis starts",
    Effect.sync(() => server.output().includes("Ready to accept connections") ? true : undefined),
    "10 seconds"
  )
  yield* Processes.untilReady("Redis", server, ready)
  yield* say("Redis: a real server")
  return `redis://127.0.0.1:${port}`
})

export interface Jaeger {
  readonly collector: string
  readonly query: string
}

/** Takes traces and answers questions about them; undefined where Jaeger was not built. */
export const jaeger = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const cache = process.env["XDG_CACHE_HOME"] ?? path.join(process.env["HOME"] ?? "", ".cache")
  const programs = process.env["JAEGER_PROGRAMS"] ?? path.join(cache, "maas", "jaeger")
  const isBuilt = (yield* fs.exists(programs)) &&
    (yield* Effect.filter(
        yield* fs.readDirectory(programs),
        (version) => fs.exists(path.join(programs, version, "jaeger"))
      )).length > 0
  if (!isBuilt) {
    yield* say("Jaeger: not built here, so the last scene is left out; `scripts/jaeger install` builds it once")
    return undefined
  }
  const [collector, query] = yield* Effect.all([freePort, freePort])
  const server = yield* Processes.start({
    name: "Jaeger",
    command: "sh",
    args: [`${root}/scripts/jaeger`, "run"],
    environment: {
      JAEGER_PROGRAMS: programs,
      JAEGER_OTLP_PORT: String(collector),
      JAEGER_PORT: String(query)
    }
  })
  yield* Processes.untilReady("Jaeger", server, answers("Jaeger", `http://127.0.0.1:${query}/api/services`))
  yield* say("Jaeger: a real server")
  return { collector: `http://127.0.0.1:${collector}`, query: `http://127.0.0.1:${query}` } satisfies Jaeger
})

export const secret = (): string => randomBytes(24).toString("base64url")
