/** One request whole: HTTP, saga steps, database, outbox, log, and each stage of the pipeline, in one trace. */
import { Effect, Schema } from "effect"
import { ask, read } from "../Http.ts"
import { check, eventually, say } from "../Narrator.ts"
import type { Jaeger } from "../Servers.ts"

const Span = Schema.Struct({
  spanID: Schema.String,
  operationName: Schema.String,
  processID: Schema.String,
  startTime: Schema.Finite,
  duration: Schema.Finite,
  references: Schema.Array(Schema.Struct({ refType: Schema.String, spanID: Schema.String }))
})
type Span = typeof Span.Type

const Traces = Schema.Struct({
  data: Schema.NullOr(Schema.Array(Schema.Struct({
    spans: Schema.Array(Span),
    processes: Schema.Record(Schema.String, Schema.Struct({ serviceName: Schema.String }))
  })))
})

/** The spans that a request which creates a model is to leave, in the order of their beginnings. */
const promised = ["create_model", "save_to_db", "publish_event", "validate", "convert", "deploy"]

/** Of a trace with hundreds of spans these are shown: the ones that are promised, and those that they hang from. */
const treeOf = (spans: ReadonlyArray<Span>, serviceOf: (span: Span) => string): ReadonlyArray<string> => {
  const byId = new Map(spans.map((span) => [span.spanID, span]))
  const parentOf = (span: Span) => byId.get(span.references.find(({ refType }) => refType === "CHILD_OF")?.spanID ?? "")
  const wayTo = (span: Span): ReadonlyArray<Span> => {
    const parent = parentOf(span)
    return parent === undefined ? [span] : [...wayTo(parent), span]
  }
  const shown = new Set(spans.filter(({ operationName }) => promised.includes(operationName)).flatMap(wayTo))
  const lines = (span: Span, depth: number): ReadonlyArray<string> => [
    `${"  ".repeat(depth)}${span.operationName}  ${(span.duration / 1_000).toFixed(1)} ms  (${serviceOf(span)})`,
    ...below(span).flatMap((child) => lines(child, depth + 1))
  ]
  const inOrder = [...shown].toSorted((one, other) => one.startTime - other.startTime)
  const below = (parent: Span | undefined) => inOrder.filter((span) => parentOf(span) === parent)
  return below(undefined).flatMap((span) => lines(span, 0))
}

export const play = Effect.fnUntraced(function*({ query }: Jaeger, traceId: string) {
  const trace = yield* eventually(
    `Jaeger has the trace ${traceId}, with ${promised.join(", ")}`,
    Effect.gen(function*() {
      const answer = yield* ask(`${query}/api/traces/${traceId}`)
      if (answer.status !== 200) return undefined
      const [found] = (yield* read(Traces)(answer)).data ?? []
      const names = new Set(found?.spans.map(({ operationName }) => operationName))
      return promised.every((name) => names.has(name)) ? found : undefined
    }),
    "30 seconds"
  )
  const services = new Set(Object.values(trace.processes).map(({ serviceName }) => serviceName))
  yield* check(
    `one trace of ${trace.spans.length} spans holds the whole creation, over ${[...services].toSorted().join(", ")}`,
    services.size > 1,
    [...services]
  )
  yield* Effect.forEach(treeOf(trace.spans, ({ processID }) => trace.processes[processID]?.serviceName ?? "?"), say)
})
