import {
  ByteSize,
  Config,
  Context,
  Duration,
  Effect,
  Layer,
  Redacted,
  Result,
  Schema,
  SchemaIssue,
  Struct
} from "effect"
import * as CircuitText from "../../resilience/circuit/CircuitText.ts"
import { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import * as PolicyText from "../../resilience/ratelimit/PolicyText.ts"
import * as TrustedProxies from "../http/TrustedProxies.ts"
import * as KafkaSettings from "./KafkaSettings.ts"
import * as LimitSettings from "./LimitSettings.ts"
import * as TelemetrySettings from "./TelemetrySettings.ts"

/** What can be set: the name in the environment, and what is said of it to those who set it. */
const names = {
  role: "MAAS_ROLE",
  host: "MAAS_HOST",
  port: "PORT",
  dataDirectory: "MAAS_DATA_DIR",
  adminKey: "MAAS_ADMIN_KEY",
  databaseUrl: "DATABASE_URL",
  databasePool: "MAAS_DATABASE_POOL",
  redisUrl: "REDIS_URL",
  kafkaBrokers: "KAFKA_BROKERS",
  kafkaTls: "KAFKA_SSL",
  kafkaTlsAuthority: "KAFKA_SSL_CA",
  kafkaSaslMechanism: "KAFKA_SASL_MECHANISM",
  kafkaSaslUsername: "KAFKA_SASL_USERNAME",
  kafkaSaslPassword: "KAFKA_SASL_PASSWORD",
  kafkaPartitions: "KAFKA_PARTITIONS",
  kafkaReplication: "KAFKA_REPLICATION",
  kafkaCompression: "KAFKA_COMPRESSION",
  registryUrl: "MAAS_REGISTRY_URL",
  runtimeUrl: "MAAS_RUNTIME_URL",
  internalSecret: "MAAS_INTERNAL_SECRET",
  upstreamTimeout: "MAAS_UPSTREAM_TIMEOUT",
  upstreamCircuit: "MAAS_UPSTREAM_CIRCUIT",
  upstreamConcurrency: "MAAS_UPSTREAM_CONCURRENCY",
  maxUpload: "MAAS_MAX_UPLOAD",
  maxBody: "MAAS_MAX_BODY",
  quotaModels: "MAAS_QUOTA_MODELS",
  quotaStorage: "MAAS_QUOTA_STORAGE",
  modelMemoryLimit: "MAAS_MODEL_MEMORY_LIMIT",
  inferenceTimeout: "MAAS_INFERENCE_TIMEOUT",
  loadTimeout: "MAAS_LOAD_TIMEOUT",
  maxLoadedModels: "MAAS_MAX_LOADED_MODELS",
  modelCircuit: "MAAS_MODEL_CIRCUIT",
  modelConcurrency: "MAAS_MODEL_CONCURRENCY",
  taskDeadline: "MAAS_TASK_DEADLINE",
  taskRetention: "MAAS_TASK_RETENTION",
  taskConcurrency: "MAAS_TASK_CONCURRENCY",
  tasksPerKey: "MAAS_TASKS_PER_KEY",
  webhookRetries: "MAAS_WEBHOOK_RETRIES",
  webhookAllowPrivate: "MAAS_WEBHOOK_ALLOW_PRIVATE",
  shutdownGrace: "MAAS_SHUTDOWN_GRACE",
  limitModelsRead: "MAAS_LIMIT_MODELS_READ",
  limitInference: "MAAS_LIMIT_INFERENCE",
  limitWrites: "MAAS_LIMIT_WRITES",
  limitOther: "MAAS_LIMIT_OTHER",
  limitWrongKeys: "MAAS_LIMIT_WRONG_KEYS",
  plans: "MAAS_LIMIT_PLANS",
  trustedProxies: "MAAS_TRUSTED_PROXIES",
  logLevel: "LOG_LEVEL",
  logFormat: "LOG_FORMAT",
  ...TelemetrySettings.names
} as const

type Name = keyof typeof names

export const roles = ["gateway", "registry", "runtime", "processor", "all"] as const
export type Role = typeof roles[number]

/** Per address where wrong keys are tried and models are read, else per key: see `LimitSettings`. */
const limits = {
  modelsRead: "100/minute",
  inference: "10/minute",
  writes: "1000/minute",
  other: "6000/minute",
  wrongKeys: "100/minute"
} as const

/** Thirty seconds each time: nobody waits longer for a model, or a role, that has recovered. */
const usualCircuit = "5 failures; open=30s; growth=1"

/** Receivers may be away for a day. */
const webhookRetries = "5 seconds, 30 seconds, 2 minutes, 10 minutes, 30 minutes, 1 hour, 2 hours, 5 hours, 15 hours"

/** What holds when it is not set, and what it is for: the table of the README. */
export const descriptions: Readonly<Record<Name, { readonly fallback: string; readonly purpose: string }>> = {
  role: { fallback: "all", purpose: "gateway, registry, runtime, processor, or all of them in one process" },
  host: { fallback: "127.0.0.1", purpose: "The address to listen on; 0.0.0.0 for every one" },
  port: {
    fallback: "8000; registry 8001, runtime 8002, processor 8003",
    purpose: "The port to listen on; 0 for any free one"
  },
  dataDirectory: { fallback: "data", purpose: "The folder of artifacts, embedded database and first admin key" },
  adminKey: {
    fallback: "made at the first start",
    purpose: "The first admin key: maas_ and 16 or more of A-Z a-z 0-9 _ -"
  },
  databaseUrl: { fallback: "an embedded server", purpose: "A PostgreSQL server, 15 or newer: postgres://…" },
  databasePool: { fallback: "10", purpose: "The most connections to PostgreSQL at once" },
  redisUrl: {
    fallback: "each process counts by itself",
    purpose: "A Redis server that keeps limits and circuits of all processes: redis://… or rediss://…"
  },
  kafkaBrokers: {
    fallback: "events go through PostgreSQL",
    purpose: "Brokers of a Kafka, 3.3 or newer, for events: host:port, several with commas between"
  },
  kafkaTls: { fallback: "false", purpose: "Whether to speak TLS with Kafka" },
  kafkaTlsAuthority: { fallback: "Node's own", purpose: "The file of the authority that vouches for Kafka, as PEM" },
  kafkaSaslMechanism: {
    fallback: "none",
    purpose: "How to show Kafka who calls: plain, scram-sha-256 or scram-sha-512"
  },
  kafkaSaslUsername: { fallback: "none", purpose: "Who calls" },
  kafkaSaslPassword: { fallback: "none", purpose: "The password of who calls" },
  kafkaPartitions: { fallback: "8", purpose: "The partitions of new topics in Kafka" },
  kafkaReplication: { fallback: "the cluster's", purpose: "The copies of each partition of new topics in Kafka" },
  kafkaCompression: { fallback: "none", purpose: "How events are compressed in Kafka: none or gzip" },
  registryUrl: { fallback: "none", purpose: "Where the registry is, for a gateway: http://host:8001" },
  runtimeUrl: { fallback: "none", purpose: "Where the runtime is, for all others: http://host:8002" },
  internalSecret: { fallback: "none", purpose: "What the roles know each other by: 32 characters or more" },
  upstreamTimeout: { fallback: "15 seconds", purpose: "How long a gateway waits for the registry to answer" },
  upstreamCircuit: { fallback: usualCircuit, purpose: "What opens the circuit of another role, and for how long" },
  upstreamConcurrency: { fallback: "512", purpose: "The most calls of another role at once; as many more may wait" },
  maxUpload: { fallback: "1 GiB", purpose: "The largest artifact" },
  maxBody: { fallback: "32 MiB", purpose: "The largest body of any other request" },
  quotaModels: { fallback: "10000", purpose: "The most models of one owner" },
  quotaStorage: { fallback: "100 GiB", purpose: "The most bytes of uploaded artifacts of one owner" },
  modelMemoryLimit: { fallback: "1 GiB", purpose: "The memory that one model may take" },
  inferenceTimeout: { fallback: "10 seconds", purpose: "How long a model may take to answer" },
  loadTimeout: { fallback: "30 seconds", purpose: "How long validating, converting and loading may take, each" },
  maxLoadedModels: { fallback: "32", purpose: "The most models in memory; the least recently used gives way" },
  modelCircuit: {
    fallback: usualCircuit,
    purpose: "What opens the circuit of a version, and for how long, or off"
  },
  modelConcurrency: { fallback: "256", purpose: "The most calls of one version at once; further ones are refused" },
  taskDeadline: { fallback: "1 hour", purpose: "The longest that a task may take; one that has not ended expires" },
  taskRetention: { fallback: "24 hours", purpose: "How long a task that has ended is kept, with its result" },
  taskConcurrency: { fallback: "16", purpose: "The most tasks that this process runs at once" },
  tasksPerKey: { fallback: "100", purpose: "The most tasks of a key that have not ended; further ones are refused" },
  webhookRetries: {
    fallback: webhookRetries,
    purpose: "How long after each try that failed a webhook is told again"
  },
  webhookAllowPrivate: {
    fallback: "false",
    purpose: "Whether webhooks may be on private networks, and without TLS"
  },
  shutdownGrace: { fallback: "20 seconds", purpose: "How long requests may take to end after SIGTERM" },
  limitModelsRead: { fallback: limits.modelsRead, purpose: "How often models and versions may be read, or off" },
  limitInference: { fallback: limits.inference, purpose: "How often a key may let models answer, or off" },
  limitWrites: { fallback: limits.writes, purpose: "How often a key may change anything, or off" },
  limitOther: { fallback: limits.other, purpose: "How often a key may make any other call, or off" },
  limitWrongKeys: { fallback: limits.wrongKeys, purpose: "How many wrong keys an address may try, or off" },
  plans: { fallback: "none", purpose: "Other limits for some keys: {\"pro\": {\"inference\": \"600/minute\"}}" },
  trustedProxies: {
    fallback: "none",
    purpose: "Proxies whose X-Forwarded-For is believed: how many, or their networks; header=forwarded"
  },
  logLevel: { fallback: "Info", purpose: "All, Trace, Debug, Info, Warn, Error, Fatal or None" },
  logFormat: { fallback: "pretty on a terminal, else json", purpose: "pretty or json, one object a line" },
  ...TelemetrySettings.descriptions
}

const optional = <A>(config: Config.Config<A>) => Config.withDefault(config, undefined)
const integer = (name: string, range: { readonly minimum: number; readonly maximum: number }) =>
  Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween(range)), name)
const readSpan = Schema.decodeEffect(
  Schema.Duration.check(
    Schema.makeFilter((duration) =>
      Duration.isPositive(duration) && Duration.isLessThanOrEqualTo(duration, Duration.days(365))
        ? undefined
        : "expected more than no time, and at most 365 days"
    )
  )
)
const span = (name: string) =>
  Config.mapEffect(
    Config.Duration(name),
    (duration) => Effect.mapError(readSpan(duration), (error) => new Config.ConfigError(error))
  )
const readSpanText = Schema.decodeEffect(Schema.DurationFromString)
const readSpans = Schema.decodeEffect(Schema.Array(Schema.Duration).check(Schema.isMaxLength(20)))
/** Spans of time with commas between. */
const spans = (name: string, fallback: string) =>
  Config.mapEffect(
    Config.withDefault(Config.String(name), fallback),
    (text) =>
      Effect.forEach(text.split(","), (one) => Effect.flatMap(readSpanText(one.trim()), readSpan)).pipe(
        Effect.flatMap(readSpans),
        Effect.mapError((error) => new Config.ConfigError(error))
      )
  )
const readCircuit = Schema.decodeEffect(Schema.Union([Schema.Literal("off"), CircuitText.fromText]))
const readRoleCircuit = Schema.decodeEffect(CircuitText.fromText)
const circuit = (name: string, fallback: string) =>
  Config.mapEffect(
    Config.withDefault(Config.String(name), fallback),
    (text) => Effect.mapError(readCircuit(text), (error) => new Config.ConfigError(error))
  )
const roleCircuit = (name: string, fallback: string) =>
  Config.mapEffect(
    Config.withDefault(Config.String(name), fallback),
    (text) => Effect.mapError(readRoleCircuit(text), (error) => new Config.ConfigError(error))
  )
const adminKey = Schema.String.check(
  Schema.isPattern(/^maas_[A-Za-z0-9_-]{16,195}$/, { expected: "maas_ and 16 to 195 of A-Z a-z 0-9 _ -" })
)
const postgresUrl = Schema.String.check(
  Schema.isPattern(/^postgres(ql)?:\/\/./, { expected: "postgres://user:password@host:port/database" })
)

const roleUrl = Schema.String.check(
  Schema.isPattern(/^https?:\/\/[^/?#@]+\/?$/, { expected: "http://host:port" })
).pipe(Schema.decodeTo(Schema.URLFromString))
const internalSecret = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{32,256}$/, { expected: "32 to 256 printable ASCII characters without spaces" })
)
const redisUrl = Schema.String.check(
  Schema.isPattern(/^rediss?:\/\/[^/]+(\/[0-9]*)?$/, { expected: "redis://[user:password@]host[:port][/database]" })
)

const configs = {
  role: Config.withDefault(Config.Literals(roles, names.role), "all"),
  host: Config.withDefault(Config.NonEmptyString(names.host), "127.0.0.1"),
  port: optional(integer(names.port, { minimum: 0, maximum: 65_535 })),
  dataDirectory: Config.withDefault(Config.NonEmptyString(names.dataDirectory), "data"),
  adminKey: optional(Config.schema(Schema.RedactedFromValue(adminKey), names.adminKey)),
  databaseUrl: optional(Config.schema(Schema.RedactedFromValue(postgresUrl), names.databaseUrl)),
  databasePool: Config.withDefault(integer(names.databasePool, { minimum: 2, maximum: 1_000 }), 10),
  redisUrl: optional(Config.schema(Schema.RedactedFromValue(redisUrl), names.redisUrl)),
  kafkaBrokers: optional(Config.schema(KafkaSettings.Brokers, names.kafkaBrokers)),
  kafkaTls: Config.withDefault(Config.Boolean(names.kafkaTls), false),
  kafkaTlsAuthority: optional(Config.NonEmptyString(names.kafkaTlsAuthority)),
  kafkaSaslMechanism: optional(Config.Literals(KafkaSettings.saslMechanisms, names.kafkaSaslMechanism)),
  kafkaSaslUsername: optional(Config.NonEmptyString(names.kafkaSaslUsername)),
  kafkaSaslPassword: optional(Config.Redacted(names.kafkaSaslPassword)),
  kafkaPartitions: Config.withDefault(integer(names.kafkaPartitions, { minimum: 1, maximum: 10_000 }), 8),
  kafkaReplication: optional(integer(names.kafkaReplication, { minimum: 1, maximum: 32_767 })),
  kafkaCompression: Config.withDefault(Config.Literals(["none", "gzip"], names.kafkaCompression), "none"),
  registryUrl: optional(Config.schema(roleUrl, names.registryUrl)),
  runtimeUrl: optional(Config.schema(roleUrl, names.runtimeUrl)),
  internalSecret: optional(Config.schema(Schema.RedactedFromValue(internalSecret), names.internalSecret)),
  upstreamTimeout: Config.withDefault(Config.Duration(names.upstreamTimeout), Duration.seconds(15)),
  upstreamCircuit: roleCircuit(names.upstreamCircuit, usualCircuit),
  upstreamConcurrency: Config.withDefault(integer(names.upstreamConcurrency, { minimum: 1, maximum: 10_000 }), 512),
  maxUpload: Config.withDefault(Config.ByteSize(names.maxUpload), ByteSize.gibibytes(1)),
  maxBody: Config.withDefault(Config.ByteSize(names.maxBody), ByteSize.mebibytes(32)),
  quotaModels: Config.withDefault(integer(names.quotaModels, { minimum: 1, maximum: 1_000_000_000 }), 10_000),
  quotaStorage: Config.withDefault(Config.ByteSize(names.quotaStorage), ByteSize.gibibytes(100)),
  modelMemoryLimit: Config.withDefault(Config.ByteSize(names.modelMemoryLimit), ByteSize.gibibytes(1)),
  inferenceTimeout: Config.withDefault(Config.Duration(names.inferenceTimeout), Duration.seconds(10)),
  loadTimeout: Config.withDefault(Config.Duration(names.loadTimeout), Duration.seconds(30)),
  maxLoadedModels: Config.withDefault(integer(names.maxLoadedModels, { minimum: 1, maximum: 10_000 }), 32),
  modelCircuit: circuit(names.modelCircuit, usualCircuit),
  modelConcurrency: Config.withDefault(integer(names.modelConcurrency, { minimum: 1, maximum: 100_000 }), 256),
  taskDeadline: Config.withDefault(span(names.taskDeadline), Duration.hours(1)),
  taskRetention: Config.withDefault(span(names.taskRetention), Duration.hours(24)),
  taskConcurrency: Config.withDefault(integer(names.taskConcurrency, { minimum: 1, maximum: 10_000 }), 16),
  tasksPerKey: Config.withDefault(integer(names.tasksPerKey, { minimum: 1, maximum: 1_000_000 }), 100),
  webhookRetries: spans(names.webhookRetries, webhookRetries),
  webhookAllowPrivate: Config.withDefault(Config.Boolean(names.webhookAllowPrivate), false),
  shutdownGrace: Config.withDefault(Config.Duration(names.shutdownGrace), Duration.seconds(20)),
  limitModelsRead: LimitSettings.requestLimit("models-read", names.limitModelsRead, limits.modelsRead),
  limitInference: LimitSettings.requestLimit("inference", names.limitInference, limits.inference),
  limitWrites: LimitSettings.requestLimit("writes", names.limitWrites, limits.writes),
  limitOther: LimitSettings.requestLimit("other", names.limitOther, limits.other),
  limitWrongKeys: LimitSettings.wrongKeysLimit(names.limitWrongKeys, limits.wrongKeys),
  plans: LimitSettings.plans(names.plans),
  trustedProxies: Config.withDefault(Config.schema(TrustedProxies.fromText, names.trustedProxies), TrustedProxies.none),
  logLevel: Config.withDefault(Config.LogLevel(names.logLevel), "Info"),
  logFormat: optional(Config.Literals(["pretty", "json"], names.logFormat)),
  ...TelemetrySettings.configs
}

/** Every mistake of the configuration, by the name of its setting. */
export class ConfigurationInvalid extends Schema.TaggedError<ConfigurationInvalid>()("ConfigurationInvalid", {
  mistakes: Schema.Array(Schema.Struct({ name: Schema.String, message: Schema.String }))
}) {
  override get message() {
    return ["The configuration has mistakes:", ...this.mistakes.map(({ name, message }) => `  ${name}: ${message}`)]
      .join(
        "\n"
      )
  }
}

const secrets: Readonly<Record<string, string>> = {
  [names.adminKey]: descriptions.adminKey.purpose,
  [names.databaseUrl]: descriptions.databaseUrl.purpose,
  [names.redisUrl]: descriptions.redisUrl.purpose,
  [names.kafkaSaslPassword]: descriptions.kafkaSaslPassword.purpose,
  [names.internalSecret]: descriptions.internalSecret.purpose,
  [names.otlpHeaders]: descriptions.otlpHeaders.purpose
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const mistakeOf = (name: string, error: Config.ConfigError) => ({
  name,
  // A mistaken secret is still a secret
  message: secrets[name] !== undefined
    ? `not as expected: ${secrets[name]}`
    : Schema.isSchemaError(error.cause)
    ? formatIssues(error.cause.issue).issues.map(({ message }) => message).join("; ")
    : error.message
})

/** Reads all settings; the role that a command names takes the place of that of the environment. */
const load = Effect.fnUntraced(function*(commanded: Role | undefined) {
  const read = yield* Effect.forEach(Struct.keys(names), (name) => {
    const config: Config.Config<unknown> = configs[name]
    return Effect.map(
      Effect.result(Effect.mapError(config, (error) => mistakeOf(names[name], error))),
      (result) => ({ name, result })
    )
  })
  const given = new Set(
    read.flatMap(({ name, result }) => Result.isSuccess(result) && result.success !== undefined ? [name] : [])
  )
  const wrong = read.flatMap(({ name, result }) => Result.isFailure(result) ? [{ name, mistake: result.failure }] : [])
  const isMissing = (name: Name) => !given.has(name) && !wrong.some((one) => one.name === name)
  const role = commanded ?? (yield* Effect.orElseSucceed(configs.role, () => undefined))
  const mistakes = [
    ...wrong.map(({ mistake }) => mistake),
    ...(role === undefined ? [] : neededBy[role].filter(isMissing).map((name) => missingFor(role, name))),
    ...(given.has("kafkaSaslMechanism") ? neededBySasl.filter(isMissing) : [])
      .map((name) => ({ name: names[name], message: `${names.kafkaSaslMechanism} needs it` }))
  ]
  if (mistakes.length > 0) return yield* new ConfigurationInvalid({ mistakes })
  const values = yield* Effect.orDie(Config.all(configs))
  return { ...values, role: commanded ?? values.role }
})

type Needed = "databaseUrl" | "registryUrl" | "runtimeUrl" | "internalSecret"

/** What a role can't do without. */
const neededBy: Readonly<Record<Role, ReadonlyArray<Needed>>> = {
  all: [],
  gateway: ["registryUrl", "runtimeUrl", "internalSecret"],
  registry: ["databaseUrl", "runtimeUrl", "internalSecret"],
  runtime: ["databaseUrl", "internalSecret"],
  processor: ["databaseUrl", "runtimeUrl", "internalSecret"]
}

const neededBySasl = ["kafkaSaslUsername", "kafkaSaslPassword"] as const

const missingFor = (role: Role, name: Needed) => ({
  name: names[name],
  message: `the role ${role} needs it: ${descriptions[name].purpose}`
})

type Values = Effect.Success<ReturnType<typeof load>>

export class Settings extends Context.Service<Settings, Values>()("maas/layers/settings/Settings") {
  /** For the role that is named here, else for that of the environment. */
  static readonly layerFor = (role: Role | undefined): Layer.Layer<Settings, ConfigurationInvalid> =>
    Layer.effect(Settings, load(role))
  static readonly layer = Settings.layerFor(undefined)
}

type Given = { readonly [N in Needed]: Exclude<Values[N], undefined> }

/** A setting that the role can't do without; that it is there was checked when the settings were read. */
export const needed = <N extends Needed>(name: N): Effect.Effect<Given[N], ConfigurationInvalid, Settings> =>
  Effect.flatMap(Settings, (settings) => {
    const values: { readonly [M in Needed]: Given[M] | undefined } = settings
    const value = values[name]
    return value === undefined
      ? Effect.fail(new ConfigurationInvalid({ mistakes: [missingFor(settings.role, name)] }))
      : Effect.succeed(value)
  })

/** Where a role listens unless told otherwise. */
export const defaultPort: Readonly<Record<Role, number>> = {
  all: 8_000,
  gateway: 8_000,
  registry: 8_001,
  runtime: 8_002,
  processor: 8_003
}

const show = (value: unknown): string =>
  value === undefined
    ? "(not set)"
    : Redacted.isRedacted(value)
    ? "(secret)"
    : Duration.isDuration(value)
    ? Duration.format(value)
    : Array.isArray(value) && value.every(Duration.isDuration)
    ? value.map(Duration.format).join(", ")
    : ByteSize.isByteSize(value)
    ? ByteSize.format(value)
    : value instanceof RateLimitPolicy
    ? PolicyText.print(value)
    : CircuitText.isCircuitPlan(value)
    ? value.text
    : LimitSettings.isPlans(value)
    ? LimitSettings.printPlans(value)
    : TrustedProxies.isTrustedProxies(value)
    ? TrustedProxies.print(value)
    : String(value)

/** Every setting as a line: its name, what holds now, and what it is for; secrets hidden. */
export const describe = (values: Values): ReadonlyArray<string> =>
  Object.entries(values).map(([key, value]) =>
    `${names[key as Name].padEnd(35)} ${show(value).padEnd(24)} ${descriptions[key as Name].purpose}`
  )
