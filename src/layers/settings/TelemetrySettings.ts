/**
 * What OpenTelemetry's standard settings say of where traces and logs go. Their names and meanings are those of its
 * specification, "Environment Variable Specification" and "OpenTelemetry Protocol Exporter".
 */
import { Config, Duration, Redacted, Schema } from "effect"

export const names = {
  otlpEndpoint: "OTEL_EXPORTER_OTLP_ENDPOINT",
  otlpTracesEndpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
  otlpLogsEndpoint: "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
  otlpHeaders: "OTEL_EXPORTER_OTLP_HEADERS",
  otlpProtocol: "OTEL_EXPORTER_OTLP_PROTOCOL",
  otlpTimeout: "OTEL_EXPORTER_OTLP_TIMEOUT",
  tracesExporter: "OTEL_TRACES_EXPORTER",
  logsExporter: "OTEL_LOGS_EXPORTER",
  tracesSampler: "OTEL_TRACES_SAMPLER",
  tracesSamplerArg: "OTEL_TRACES_SAMPLER_ARG",
  spanQueue: "OTEL_BSP_MAX_QUEUE_SIZE",
  spanBatch: "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
  spanDelay: "OTEL_BSP_SCHEDULE_DELAY",
  serviceName: "OTEL_SERVICE_NAME",
  resourceAttributes: "OTEL_RESOURCE_ATTRIBUTES",
  telemetryDisabled: "OTEL_SDK_DISABLED"
} as const

export const samplers = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio"
] as const

const sampler = "parentbased_always_on"

export const descriptions: Readonly<
  Record<keyof typeof names, { readonly fallback: string; readonly purpose: string }>
> = {
  otlpEndpoint: {
    fallback: "no traces",
    purpose: "Where traces and logs go, by OTLP over HTTP: http://host:4318"
  },
  otlpTracesEndpoint: { fallback: "the endpoint's v1/traces", purpose: "Where traces go, if not to the endpoint" },
  otlpLogsEndpoint: { fallback: "the endpoint's v1/logs", purpose: "Where logs go, if not to the endpoint" },
  otlpHeaders: { fallback: "none", purpose: "What is sent along to there: name=value, several with commas between" },
  otlpProtocol: { fallback: "http/protobuf", purpose: "The only one there is" },
  otlpTimeout: { fallback: "10000", purpose: "How long a batch may take to be sent, in milliseconds" },
  tracesExporter: { fallback: "otlp", purpose: "otlp, or none for no traces in spite of an endpoint" },
  logsExporter: { fallback: "otlp", purpose: "otlp, or none for logs on the standard output only" },
  tracesSampler: { fallback: sampler, purpose: `Which requests are traced: ${samplers.join(", ")}` },
  tracesSamplerArg: { fallback: "1", purpose: "The share of them that is traced, 0 to 1, where the sampler asks" },
  spanQueue: { fallback: "2048", purpose: "The most spans that wait to be sent; further ones are dropped" },
  spanBatch: { fallback: "512", purpose: "The most spans sent at once" },
  spanDelay: { fallback: "5000", purpose: "How long spans wait for others to be sent with, in milliseconds" },
  serviceName: { fallback: "maas, or maas- and the role", purpose: "The service's name in traces and logs" },
  resourceAttributes: { fallback: "none", purpose: "What else is told of it: name=value, several with commas between" },
  telemetryDisabled: { fallback: "false", purpose: "Whether to send no traces and logs at all" }
}

const url = Schema.String.check(
  Schema.isPattern(/^https?:\/\/[^/?#\s]+[^\s]*$/, { expected: "http://host:port" })
).pipe(Schema.decodeTo(Schema.URLFromString))

/** An empty value means the same as none. */
const given = <A>(config: Config.Config<A>, name: string): Config.Config<A | undefined> =>
  Config.flatMap(
    Config.withDefault(Config.String(name), ""),
    (text): Config.Config<A | undefined> => text === "" ? Config.succeed(undefined) : config
  )

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

const integer = (name: string, fallback: number, range: { readonly minimum: number; readonly maximum: number }) =>
  Config.map(
    given(Config.schema(Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween(range)), name), name),
    (value) => value ?? fallback
  )

const orElse = <A>(config: Config.Config<A | undefined>, fallback: A) =>
  Config.map(config, (value) => value ?? fallback)

const exporter = (name: string) => orElse(given(Config.Literals(["otlp", "none"], name), name), "otlp")

export const configs = {
  otlpEndpoint: given(Config.schema(url, names.otlpEndpoint), names.otlpEndpoint),
  otlpTracesEndpoint: given(Config.schema(url, names.otlpTracesEndpoint), names.otlpTracesEndpoint),
  otlpLogsEndpoint: given(Config.schema(url, names.otlpLogsEndpoint), names.otlpLogsEndpoint),
  otlpHeaders: given(Config.map(pairs(names.otlpHeaders), (headers) => Redacted.make(headers)), names.otlpHeaders),
  otlpProtocol: orElse(
    given(Config.Literals(["http/protobuf"], names.otlpProtocol), names.otlpProtocol),
    "http/protobuf"
  ),
  otlpTimeout: Config.map(
    integer(names.otlpTimeout, 10_000, { minimum: 1, maximum: 600_000 }),
    (millis) => Duration.millis(millis)
  ),
  tracesExporter: exporter(names.tracesExporter),
  logsExporter: exporter(names.logsExporter),
  tracesSampler: orElse(given(Config.Literals(samplers, names.tracesSampler), names.tracesSampler), sampler),
  tracesSamplerArg: orElse(
    given(
      Config.schema(
        Schema.FiniteFromString.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
        names.tracesSamplerArg
      ),
      names.tracesSamplerArg
    ),
    1
  ),
  spanQueue: integer(names.spanQueue, 2_048, { minimum: 1, maximum: 1_000_000 }),
  spanBatch: integer(names.spanBatch, 512, { minimum: 1, maximum: 100_000 }),
  spanDelay: Config.map(
    integer(names.spanDelay, 5_000, { minimum: 1, maximum: 600_000 }),
    (millis) => Duration.millis(millis)
  ),
  serviceName: given(Config.String(names.serviceName), names.serviceName),
  resourceAttributes: orElse(given(pairs(names.resourceAttributes), names.resourceAttributes), new Pairs({})),
  telemetryDisabled: orElse(given(Config.Boolean(names.telemetryDisabled), names.telemetryDisabled), false)
}
