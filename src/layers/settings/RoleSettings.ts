/** What a process is for, where it listens, and how it reaches the others. */
import { Config, Schema } from "effect"
import * as CircuitText from "../../resilience/circuit/CircuitText.ts"
import { integer, optional, preset, secret, span, text } from "./Setting.ts"

export const roles = ["gateway", "registry", "runtime", "processor", "all"] as const
export type Role = typeof roles[number]

/** Where a role listens unless told otherwise. */
export const defaultPort: Readonly<Record<Role, number>> = {
  all: 8_000,
  gateway: 8_000,
  registry: 8_001,
  runtime: 8_002,
  processor: 8_003
}

/** Thirty seconds each time: nobody waits longer for a model, or a role, that has recovered. */
export const usualCircuit = "5 failures; open=30s; growth=1"

const url = text(/^https?:\/\/[^/?#@]+\/?$/, "http://host:port").pipe(Schema.decodeTo(Schema.URLFromString))
const internalSecret = text(/^[\x21-\x7e]{32,256}$/, "32 to 256 printable ASCII characters without spaces")

export const settings = {
  role: preset(
    "MAAS_ROLE",
    "all",
    "`gateway`, `registry`, `runtime`, `processor`, or all of them in one process; `serve --role` goes before it",
    (name) => Config.Literals(roles, name)
  ),
  host: preset("MAAS_HOST", "127.0.0.1", "The address to listen on; 0.0.0.0 for every one", Config.NonEmptyString),
  port: optional(
    "PORT",
    `8000; registry ${defaultPort.registry}, runtime ${defaultPort.runtime}, processor ${defaultPort.processor}`,
    "The port to listen on; 0 for any free one",
    integer(0, 65_535)
  ),
  registryUrl: optional(
    "MAAS_REGISTRY_URL",
    "none",
    "Where the registry is, for a gateway: `http://host:8001`",
    (name) => Config.schema(url, name)
  ),
  runtimeUrl: optional(
    "MAAS_RUNTIME_URL",
    "none",
    "Where the runtime is, for all others: `http://host:8002`",
    (name) => Config.schema(url, name)
  ),
  internalSecret: secret(
    "MAAS_INTERNAL_SECRET",
    "none",
    "What the roles know each other by: 32 characters or more",
    internalSecret
  ),
  upstreamTimeout: preset(
    "MAAS_UPSTREAM_TIMEOUT",
    "15 seconds",
    "How long a gateway waits for the registry to answer",
    span
  ),
  upstreamCircuit: preset(
    "MAAS_UPSTREAM_CIRCUIT",
    usualCircuit,
    "What opens the circuit of another role, and for how long",
    (name) => Config.schema(CircuitText.fromText, name)
  ),
  upstreamConcurrency: preset(
    "MAAS_UPSTREAM_CONCURRENCY",
    "512",
    "The most calls of another role at once; as many more may wait",
    integer(1, 10_000)
  ),
  shutdownGrace: preset(
    "MAAS_SHUTDOWN_GRACE",
    "20 seconds",
    "How long requests may take to end after SIGTERM",
    Config.Duration
  )
}
