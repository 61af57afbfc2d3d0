/** What one log call says, with the span that it was made in. */
import { DateTime, Formatter, Logger } from "effect"
import type { LogLevel } from "effect"

export interface LogEntry {
  readonly date: Date
  readonly level: LogLevel.LogLevel
  readonly message: unknown
  readonly cause: string | undefined
  /** Undefined outside of any trace. */
  readonly span: { readonly traceId: string; readonly spanId: string; readonly sampled: boolean } | undefined
  readonly annotations: Readonly<Record<string, unknown>>
}

export const of = (options: Logger.Options<unknown>): LogEntry => {
  const { annotations, cause, message } = Logger.formatStructured.log(options)
  return { date: options.date, level: options.logLevel, message, cause, span: options.fiber.cache.span, annotations }
}

/** One line of JSON: what everybody looks for first, then what the place of the call adds. */
export const toJson = ({ annotations, cause, date, level, message, span }: LogEntry): string =>
  Formatter.formatJson({
    timestamp: date.toISOString(),
    level: level.toUpperCase(),
    message,
    ...(span === undefined ? {} : { traceId: span.traceId, spanId: span.spanId }),
    ...(cause === undefined ? {} : { cause }),
    annotations
  })

/** SGR colours of ECMA-48. */
const colors: Readonly<Record<LogLevel.LogLevel, number>> = {
  All: 90,
  Trace: 90,
  Debug: 34,
  Info: 32,
  Warn: 33,
  Error: 31,
  Fatal: 31,
  None: 90
}

const wordsOf = (value: unknown): string => typeof value === "string" ? value : Formatter.format(value)

/** For people at a terminal: the time, the level in its colour, the message, and below it what there is besides. */
export const toWords = ({ annotations, cause, date, level, message, span }: LogEntry): string => {
  const time = DateTime.formatLocal(DateTime.makeUnsafe(date), { timeStyle: "medium", hour12: false })
  const words = Array.isArray(message) ? message.map(wordsOf).join(" ") : wordsOf(message)
  const besides = { ...annotations, ...(span?.sampled === true ? { traceId: span.traceId } : {}) }
  return [
    `${time} \x1b[${colors[level]}m${level.toUpperCase()}\x1b[0m ${words}`,
    ...Object.entries(besides).map(([name, value]) => `  ${name}: ${wordsOf(value)}`),
    ...cause === undefined ? [] : [cause]
  ].join("\n")
}
