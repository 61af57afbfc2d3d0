/**
 * Logs sent by OTLP, as JSON: "OTLP/HTTP" and "JSON Protobuf Encoding" of the OpenTelemetry Protocol's specification, and
 * the severities of its log data model.
 */
import { Effect, Logger, Schedule } from "effect"
import type { LogLevel } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import * as ExportQueue from "./ExportQueue.ts"
import * as LogEntry from "./LogEntry.ts"
import * as Otlp from "./Otlp.ts"

const severities: Readonly<Record<LogLevel.LogLevel, number>> = {
  All: 1,
  Trace: 1,
  Debug: 5,
  Info: 9,
  Warn: 13,
  Error: 17,
  Fatal: 21,
  None: 0
}

const textOf = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value) ?? ""

const attributesOf = (attributes: Readonly<Record<string, unknown>>) =>
  Object.entries(attributes).map(([key, value]) => ({ key, value: { stringValue: textOf(value) } }))

const recordOf = ({ annotations, cause, date, level, message, span }: LogEntry.LogEntry) => ({
  timeUnixNano: `${date.getTime()}000000`,
  observedTimeUnixNano: `${date.getTime()}000000`,
  severityNumber: severities[level],
  severityText: level.toUpperCase(),
  body: { stringValue: textOf(message) },
  attributes: attributesOf(cause === undefined ? annotations : { ...annotations, "exception.stacktrace": cause }),
  ...(span === undefined ? {} : { traceId: span.traceId, spanId: span.spanId, flags: span.sampled ? 1 : 0 })
})

const capacity = 2_048
const batch = 512
const retries = { schedule: Schedule.exponential("500 millis"), times: 3 }

/** A logger that keeps nobody waiting: see `ExportQueue`. */
export const make = Effect.fnUntraced(function*(redact: (text: string) => string) {
  const { headers, timeout, url } = yield* Otlp.target("logs")
  const resource = { attributes: attributesOf(yield* Otlp.resourceAttributes) }
  const client = (yield* HttpClient.HttpClient).pipe(
    HttpClient.filterStatusOk,
    HttpClient.retryTransient(retries)
  )
  const request = HttpClientRequest.post(url, { headers })

  const queue = yield* ExportQueue.make<LogEntry.LogEntry>({
    signal: "logs",
    capacity,
    batch,
    delay: Otlp.logDelay,
    flushWithin: Otlp.flushWithin,
    send: (entries) => {
      const logRecords = entries.map(recordOf)
      const body = JSON.stringify({
        resourceLogs: [{ resource, scopeLogs: [{ scope: { name: "maas" }, logRecords }] }]
      })
      return client.execute(HttpClientRequest.bodyText(request, redact(body), "application/json")).pipe(
        Effect.andThen((response) => response.arrayBuffer),
        Effect.timeout(timeout),
        Effect.asVoid,
        Effect.mapError(({ message }) => new ExportQueue.ExportFailed({ message })),
        Effect.withTracerEnabled(false)
      )
    }
  })
  return Logger.make((options) => queue.offer(LogEntry.of(options)))
}, Effect.provide(FetchHttpClient.layer))
