/** A real Kafka of one node, started by `scripts/kafka`, for a test to kill, pause and start again. */
import { Config, Data, Effect, Queue } from "effect"
import { spawn } from "node:child_process"
import { existsSync, mkdtempSync } from "node:fs"
import { homedir, tmpdir } from "node:os"
import { delimiter, join } from "node:path"
import { freePort } from "./FreePort.ts"

export const defaultVersion = "4.4.0"

class KafkaNotStarted extends Data.TaggedError("KafkaNotStarted")<{ readonly log: string }> {
  override get message() {
    return `Kafka for the tests did not start:\n${this.log}`
  }
}

const script = join(import.meta.dirname, "../../scripts/kafka")

const isInstalled = (program: string): boolean =>
  (process.env["PATH"] ?? "").split(delimiter).some((folder) => existsSync(join(folder, program)))

/** Whether a node of the version can be started here. */
export const canStart = (version = defaultVersion): boolean => {
  const cache = process.env["KAFKA_JARS"] ??
    join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "maas/kafka")
  return isInstalled("java") && (isInstalled("mvn") || existsSync(join(cache, version)))
}

export interface KafkaNodeOptions {
  readonly version?: string
  /** More lines for the node's `server.properties`. */
  readonly properties?: (ports: { readonly port: number; readonly controllerPort: number }) => string
}

export interface KafkaNode {
  /** `host:port` */
  readonly address: string
  readonly port: number
  /** SIGKILL; its data stay. */
  readonly kill: Effect.Effect<void>
  /** Starts it again, on the same port and data; returns when it serves. */
  readonly start: Effect.Effect<void>
  /** SIGSTOP: connections stay, nothing is answered. */
  readonly pause: Effect.Effect<void>
  /** SIGCONT */
  readonly resume: Effect.Effect<void>
}

/**
 * Starts a node that ends with the scope, and also when this process ends in any other way: the script keeps it only
 * while somebody holds the other end of its standard input.
 */
export const start = Effect.fnUntraced(function*({ properties, version = defaultVersion }: KafkaNodeOptions = {}) {
  const environment = yield* Config.all({ path: Config.String("PATH"), home: Config.String("HOME") })
  const port = yield* freePort
  const controllerPort = yield* freePort
  const replies = yield* Queue.unbounded<string>()
  let log = ""
  const keeper = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn("sh", [script, "keep"], {
        stdio: ["pipe", "pipe", "pipe"],
        // Ctrl-C reaches the whole foreground group; the node must outlive the workers' last requests.
        detached: true,
        env: {
          PATH: environment.path,
          HOME: environment.home,
          ...process.env["KAFKA_JARS"] === undefined ? {} : { KAFKA_JARS: process.env["KAFKA_JARS"] },
          KAFKA_VERSION: version,
          KAFKA_PORT: String(port),
          KAFKA_CONTROLLER_PORT: String(controllerPort),
          KAFKA_DATA: mkdtempSync(join(tmpdir(), "maas-test-kafka-")),
          KAFKA_PROPERTIES: properties?.({ port, controllerPort }) ?? ""
        }
      })
      child.stdout.on("data", (chunk: Buffer) => Queue.offerAllUnsafe(replies, chunk.toString().trim().split("\n")))
      child.stderr.on("data", (chunk: Buffer) => log += chunk.toString())
      child.once("exit", () => Queue.offerUnsafe(replies, "ended"))
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.stdin.end()
      })
  )

  const done = Queue.take(replies).pipe(
    Effect.filterOrFail((reply) => reply === "done", () => new KafkaNotStarted({ log })),
    Effect.timeoutOrElse({ duration: "120 seconds", orElse: () => new KafkaNotStarted({ log: `${log}\n(too slow)` }) }),
    Effect.asVoid
  )
  const tell = (command: string) =>
    Effect.andThen(Effect.sync(() => keeper.stdin.write(`${command}\n`)), Effect.orDie(done))

  yield* done
  return {
    address: `127.0.0.1:${port}`,
    port,
    kill: tell("kill"),
    start: tell("start"),
    pause: tell("pause"),
    resume: tell("resume")
  } satisfies KafkaNode
})
