/** Where telemetry goes, and what it says of this process. */
import { Duration, Effect, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { Settings } from "../settings/Settings.ts"

/** How long the last spans and logs may take to be sent when the program ends. */
export const flushWithin = Duration.seconds(3)

/** How long log lines wait for others to be sent with. */
export const logDelay = Duration.seconds(1)

export type Signal = "traces" | "logs"

/** The endpoint of a signal as the specification builds it; undefined where the signal is not to be sent. */
export const endpointOf = (settings: Settings["Service"], signal: Signal): string | undefined => {
  const { logsExporter, otlpEndpoint, otlpLogsEndpoint, otlpTracesEndpoint, telemetryDisabled, tracesExporter } =
    settings
  const [own, exporter] = signal === "traces"
    ? [otlpTracesEndpoint, tracesExporter]
    : [otlpLogsEndpoint, logsExporter]
  if (telemetryDisabled || exporter === "none") return undefined
  if (own !== undefined) return own.href
  return otlpEndpoint === undefined ? undefined : `${otlpEndpoint.href.replace(/\/$/, "")}/v1/${signal}`
}

/** To be asked for only where the signal is to be sent. */
export const target = (signal: Signal) =>
  Effect.map(Settings, (settings) => ({
    url: endpointOf(settings, signal) ?? "",
    headers: settings.otlpHeaders === undefined ? {} : { ...Redacted.value(settings.otlpHeaders).values },
    timeout: settings.otlpTimeout
  }))

/** Of OpenTelemetry's semantic conventions for resources. */
export const resourceAttributes = Effect.gen(function*() {
  const { resourceAttributes, role, serviceName } = yield* Settings
  const random = yield* SecureRandom.SecureRandom
  return {
    "telemetry.sdk.name": "@effect/opentelemetry",
    "telemetry.sdk.language": "nodejs",
    "service.version": "0.1.0",
    "service.instance.id": yield* random.uuidV4(),
    "service.name": role === "all" ? "maas" : `maas-${role}`,
    ...resourceAttributes?.values,
    ...(serviceName === undefined ? {} : { "service.name": serviceName })
  }
})
