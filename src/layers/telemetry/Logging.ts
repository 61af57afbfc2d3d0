import { Effect, Layer, Logger, References } from "effect"
import { Settings } from "../settings/Settings.ts"

/** One JSON object a line, or words and colours on a terminal. */
export const layer = Layer.unwrap(Effect.map(Settings, ({ logFormat, logLevel }) => {
  const format = logFormat ?? (process.stdout.isTTY ? "pretty" : "json")
  return Layer.merge(
    Logger.layer([format === "pretty" ? Logger.consolePretty() : Logger.consoleJson]),
    Layer.succeed(References.MinimumLogLevel, logLevel)
  )
}))
