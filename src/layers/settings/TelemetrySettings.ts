/**
 * Logs, and what OpenTelemetry's standard settings say of where they and traces go. Their names and meanings are those of its
 * specification, "Environment Variable Specification" and "OpenTelemetry Protocol Exporter".
 */
import { Config, Duration, Redacted, Schema } from "effect"
import { integer, optional, preset, text } from "./Setting.ts"

export const samplers = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio"
] as const

const url = text(/^https?:\/\/[^/?#\s]+[^\s]*$/, "http://host:port").pipe(Schema.decodeTo(Schema.URLFromString))

/** Names and values, shown as they are set. */
export class Pairs {
  readonly values: Readonly<Record<string, string>>
  constructor(values: Readonly<Record<string, string>>) {
    this.values = values
  }
  toString(): string {
    return Object.entries(this.values).map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join(",")
  }
}

const pairs = (name: string) =>
  Config.map(
    Config.Record(Schema.NonEmptyString, Schema.StringFromUriComponent, name, { trim: true, keepEmptyValues: true }),
    (values) => new Pairs(values)
  )

const address = (name: string) => Config.schema(url, name)
const exporter = (name: string) => Config.Literals(["otlp", "none"], name)
/** Whole milliseconds. */
const millis = (name: string) => Config.map(integer(1, 600_000)(name), (count) => Duration.millis(count))

/** One that is empty is one that is not set, as OpenTelemetry says of all of its own. */
export const isUnsetWhenEmpty = (name: string) => name.startsWith("OTEL_")

export const settings = {
  otlpEndpoint: optional(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "no traces",
    "Where traces and logs go, by OTLP over HTTP: `http://host:4318`",
    address
  ),
  otlpTracesEndpoint: optional(
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "the endpoint's v1/traces",
    "Where traces go, if not to the endpoint",
    address
  ),
  otlpLogsEndpoint: optional(
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "the endpoint's v1/logs",
    "Where logs go, if not to the endpoint",
    address
  ),
  otlpHeaders: {
    ...optional(
      "OTEL_EXPORTER_OTLP_HEADERS",
      "none",
      "What is sent along to there: `name=value`, several with commas between",
      (name) => Config.map(pairs(name), (headers) => Redacted.make(headers))
    ),
    isSecret: true
  },
  otlpProtocol: preset(
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "http/protobuf",
    "The only one there is",
    (name) => Config.Literals(["http/protobuf"], name)
  ),
  otlpTimeout: preset(
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "10000",
    "How long a batch may take to be sent, in milliseconds",
    millis
  ),
  tracesExporter: preset(
    "OTEL_TRACES_EXPORTER",
    "otlp",
    "`otlp`, or `none` for no traces in spite of an endpoint",
    exporter
  ),
  logsExporter: preset(
    "OTEL_LOGS_EXPORTER",
    "otlp",
    "`otlp`, or `none` for logs on the standard output only",
    exporter
  ),
  tracesSampler: preset(
    "OTEL_TRACES_SAMPLER",
    "parentbased_always_on",
    `Which requests are traced: ${samplers.map((name) => `\`${name}\``).join(", ")}`,
    (name) => Config.Literals(samplers, name)
  ),
  tracesSamplerArg: preset(
    "OTEL_TRACES_SAMPLER_ARG",
    "1",
    "The share of them that is traced, 0 to 1, where the sampler asks",
    (name) => Config.schema(Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 })), name)
  ),
  spanQueue: preset(
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "2048",
    "The most spans that wait to be sent; further ones are dropped",
    integer(1, 1_000_000)
  ),
  spanBatch: preset("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512", "The most spans sent at once", integer(1, 100_000)),
  spanDelay: preset(
    "OTEL_BSP_SCHEDULE_DELAY",
    "5000",
    "How long spans wait for others to be sent with, in milliseconds",
    millis
  ),
  serviceName: optional(
    "OTEL_SERVICE_NAME",
    "maas, or maas- and the role",
    "The service's name in traces and logs",
    Config.String
  ),
  resourceAttributes: optional(
    "OTEL_RESOURCE_ATTRIBUTES",
    "none",
    "What else is told of it: `name=value`, several with commas between",
    pairs
  ),
  telemetryDisabled: preset("OTEL_SDK_DISABLED", "false", "Whether to send no traces and logs at all", Config.Boolean),
  logLevel: preset(
    "LOG_LEVEL",
    "Info",
    "All, Trace, Debug, Info, Warn, Error, Fatal or None",
    Config.LogLevel
  ),
  logFormat: optional(
    "LOG_FORMAT",
    "pretty on a terminal, else json",
    "pretty or json, one object a line",
    (name) => Config.Literals(["pretty", "json"], name)
  )
}
