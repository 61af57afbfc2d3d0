/** What models, their artifacts and the tasks and webhooks around them may take. */
import { Config, Schema } from "effect"
import * as CircuitText from "../../resilience/circuit/CircuitText.ts"
import { usualCircuit } from "./RoleSettings.ts"
import { integer, preset, span, spans } from "./Setting.ts"

const circuitOrOff = Schema.Union([Schema.Literal("off"), CircuitText.fromText])

export const settings = {
  maxUpload: preset("MAAS_MAX_UPLOAD", "1 GiB", "The largest artifact", Config.ByteSize),
  maxBody: preset("MAAS_MAX_BODY", "32 MiB", "The largest body of any other request", Config.ByteSize),
  quotaModels: preset("MAAS_QUOTA_MODELS", "10000", "The most models of one owner", integer(1, 1_000_000_000)),
  quotaStorage: preset(
    "MAAS_QUOTA_STORAGE",
    "100 GiB",
    "The most bytes of uploaded artifacts of one owner",
    Config.ByteSize
  ),
  modelMemoryLimit: preset(
    "MAAS_MODEL_MEMORY_LIMIT",
    "1 GiB",
    "The memory that one model may take",
    Config.ByteSize
  ),
  inferenceTimeout: preset("MAAS_INFERENCE_TIMEOUT", "10 seconds", "How long a model may take to answer", span),
  loadTimeout: preset(
    "MAAS_LOAD_TIMEOUT",
    "30 seconds",
    "How long validating, converting and loading may take, each",
    span
  ),
  maxLoadedModels: preset(
    "MAAS_MAX_LOADED_MODELS",
    "32",
    "The most models in memory; the least recently used gives way",
    integer(1, 10_000)
  ),
  modelCircuit: preset(
    "MAAS_MODEL_CIRCUIT",
    usualCircuit,
    "What opens the circuit of a version, and for how long, or `off`",
    (name) => Config.schema(circuitOrOff, name)
  ),
  modelConcurrency: preset(
    "MAAS_MODEL_CONCURRENCY",
    "256",
    "The most calls of one version at once; further ones are refused",
    integer(1, 100_000)
  ),
  taskDeadline: preset(
    "MAAS_TASK_DEADLINE",
    "1 hour",
    "The longest that a task may take; one that has not ended expires",
    span
  ),
  taskRetention: preset(
    "MAAS_TASK_RETENTION",
    "24 hours",
    "How long a task that has ended is kept, with its result",
    span
  ),
  taskConcurrency: preset(
    "MAAS_TASK_CONCURRENCY",
    "16",
    "The most tasks that this process runs at once",
    integer(1, 10_000)
  ),
  tasksPerKey: preset(
    "MAAS_TASKS_PER_KEY",
    "100",
    "The most tasks of a key that have not ended; further ones are refused",
    integer(1, 1_000_000)
  ),
  // Receivers may be away for a day
  webhookRetries: preset(
    "MAAS_WEBHOOK_RETRIES",
    "5 seconds, 30 seconds, 2 minutes, 10 minutes, 30 minutes, 1 hour, 2 hours, 5 hours, 15 hours",
    "How long after each try that failed a webhook is told again",
    spans
  ),
  webhookAllowPrivate: preset(
    "MAAS_WEBHOOK_ALLOW_PRIVATE",
    "false",
    "Whether webhooks may be on private networks, and without TLS",
    Config.Boolean
  )
}
