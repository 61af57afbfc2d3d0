/**
 * Logs on the standard output: one JSON object a line, or words and colours on a terminal; and to the collector, where
 * the settings name one. Secrets are hidden in all of them.
 */
import { Effect, Layer, Logger, References } from "effect"
import { Settings } from "../settings/Settings.ts"
import * as LogEntry from "./LogEntry.ts"
import * as Otlp from "./Otlp.ts"
import * as OtlpLogs from "./OtlpLogs.ts"
import * as Redaction from "./Redaction.ts"

type Redact = (text: string) => string

const json = (redact: Redact) => Logger.make((options) => redact(LogEntry.toJson(LogEntry.of(options))))

const pretty = (redact: Redact) => Logger.make((options) => redact(LogEntry.toWords(LogEntry.of(options))))

export const layer = Layer.unwrap(Effect.gen(function*() {
  const settings = yield* Settings
  const redact = Redaction.make(Object.values(settings))
  const format = settings.logFormat ?? (process.stdout.isTTY ? "pretty" : "json")
  const console = Logger.withConsoleLog(format === "pretty" ? pretty(redact) : json(redact))
  // What is said of the collector itself is not for the collector
  const alone = Effect.provideService(Logger.CurrentLoggers, new Set([console]))
  return Layer.merge(
    Logger.layer(
      Otlp.endpointOf(settings, "logs") === undefined ? [console] : [console, alone(OtlpLogs.make(redact))]
    ),
    Layer.succeed(References.MinimumLogLevel, settings.logLevel)
  )
}))
