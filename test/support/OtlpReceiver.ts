/** A collector in the test's own process: takes traces by OTLP over HTTP, and keeps every span that it was sent. */
import { Effect, Schedule } from "effect"
import { createServer } from "node:http"
import type { ServerResponse } from "node:http"
import { gunzipSync } from "node:zlib"
import { fieldsOf } from "../../src/layers/onnx/runner/ProtobufReader.ts"
import type { Field } from "../../src/layers/onnx/runner/ProtobufReader.ts"
import { describe } from "./SpanTree.ts"
import type { Span } from "./SpanTree.ts"

const kinds = [undefined, "internal", "server", "client", "producer", "consumer"] as const

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes)
const hex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString("hex")
const all = (message: Uint8Array, number: number): ReadonlyArray<Field> =>
  [...fieldsOf(message)].filter((field) => field.number === number)
const bytesOf = (message: Uint8Array, number: number): Uint8Array | undefined => all(message, number)[0]?.bytes

/** A value as text; what is neither text nor a whole number or truth value is left out. */
const attributesOf = (pairs: ReadonlyArray<Field>): Readonly<Record<string, string>> =>
  Object.fromEntries(pairs.map(({ bytes }) => {
    const [value] = fieldsOf(bytesOf(bytes, 2) ?? new Uint8Array())
    const shown = value?.number === 1 ? text(value.bytes) : value?.wireType === 0 ? String(value.varint) : ""
    return [text(bytesOf(bytes, 1)), shown]
  }))

/** `ExportTraceServiceRequest` of opentelemetry/proto/collector/trace/v1. */
const spansOf = (request: Uint8Array): ReadonlyArray<Span> =>
  all(request, 1).flatMap(({ bytes: resourceSpans }) => {
    const resource = attributesOf(all(bytesOf(resourceSpans, 1) ?? new Uint8Array(), 1))
    return all(resourceSpans, 2).flatMap(({ bytes: scope }) =>
      all(scope, 2).map(({ bytes: span }): Span => ({
        traceId: hex(bytesOf(span, 1)),
        spanId: hex(bytesOf(span, 2)),
        parentSpanId: hex(bytesOf(span, 4)),
        name: text(bytesOf(span, 5)),
        kind: kinds[Number(all(span, 6)[0]?.varint ?? 0n)],
        attributes: attributesOf(all(span, 9)),
        isError: all(bytesOf(span, 15) ?? new Uint8Array(), 3)[0]?.varint === 2n,
        service: resource["service.name"] ?? ""
      }))
    )
  })

/** What a collector may do with a request: take it, leave it without an answer, or refuse it. */
export type Mood = "takes" | "hangs" | "refuses"

/** Ends with the scope. */
export const start = Effect.gen(function*() {
  const spans: Array<Span> = []
  const logs: Array<unknown> = []
  const requests: Array<{
    readonly path: string
    readonly headers: Readonly<Record<string, unknown>>
    readonly body: Buffer
  }> = []
  const hanging: Array<ServerResponse> = []
  let mood: Mood = "takes"
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      if (mood === "hangs") {
        hanging.push(response)
        return
      }
      if (mood === "refuses") {
        response.writeHead(400).end()
        return
      }
      const whole = Buffer.concat(chunks)
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(whole) : whole
      requests.push({ path: request.url ?? "", headers: request.headers, body })
      if (request.url === "/v1/traces") spans.push(...spansOf(body))
      if (request.url === "/v1/logs") logs.push(JSON.parse(body.toString()))
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end()
    })
  })
  const url = yield* Effect.acquireRelease(
    Effect.callback<string>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(`http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`))
      })
    }),
    () =>
      Effect.sync(() => {
        for (const response of hanging) response.destroy()
        server.closeAllConnections()
        server.close()
      })
  )
  /** The spans once they are as wanted, within a minute. */
  const until = (areAsWanted: (spans: ReadonlyArray<Span>) => boolean) =>
    Effect.sync(() => spans).pipe(
      Effect.repeat({ until: areAsWanted, schedule: Schedule.spaced("20 millis") }),
      Effect.timeout("60 seconds"),
      Effect.mapError(() => new Error(`not what was wanted:\n${describe(spans)}`)),
      Effect.orDie
    )
  return {
    url,
    spans,
    logs,
    requests,
    until,
    /** How it deals with requests from now on; those left without an answer stay so. */
    become: (next: Mood) =>
      Effect.sync(() => {
        mood = next
      })
  }
})
