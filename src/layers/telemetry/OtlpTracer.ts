/**
 * The tracer that sends what it records by OTLP: OpenTelemetry's own SDK behind Effect's tracer. A module of its own,
 * loaded only where traces are wanted: elsewhere the SDK costs neither memory nor time.
 */
import * as OtelTracer from "@effect/opentelemetry/OtelTracer"
import { ROOT_CONTEXT, SpanKind } from "@opentelemetry/api"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto"
import { resourceFromAttributes } from "@opentelemetry/resources"
import type { IdGenerator, ReadableSpan, Sampler, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  ParentBasedSampler,
  RandomIdGenerator,
  SamplingDecision,
  TraceIdRatioBasedSampler
} from "@opentelemetry/sdk-trace-base"
import { ATTR_HTTP_REQUEST_METHOD, ATTR_HTTP_ROUTE } from "@opentelemetry/semantic-conventions"
import { Duration, Effect, Option, Tracer } from "effect"
import { Settings } from "../settings/Settings.ts"
import * as ExportQueue from "./ExportQueue.ts"
import * as Otlp from "./Otlp.ts"
import * as UntracedSpan from "./UntracedSpan.ts"

type SamplerName = Settings["Service"]["tracesSampler"]

const samplerOf = (name: SamplerName, ratio: number): Sampler => {
  switch (name) {
    case "always_on":
      return new AlwaysOnSampler()
    case "always_off":
      return new AlwaysOffSampler()
    case "traceidratio":
      return new TraceIdRatioBasedSampler(ratio)
    case "parentbased_always_on":
      return new ParentBasedSampler({ root: new AlwaysOnSampler() })
    case "parentbased_always_off":
      return new ParentBasedSampler({ root: new AlwaysOffSampler() })
    case "parentbased_traceidratio":
      return new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) })
  }
}

/** Gives out one id that was drawn before, and else new ones. */
class DrawnIds implements IdGenerator {
  readonly #random = new RandomIdGenerator()
  #drawn: string | undefined
  draw(): string {
    return this.#drawn = this.#random.generateTraceId()
  }
  generateTraceId(): string {
    const id = this.#drawn ?? this.#random.generateTraceId()
    this.#drawn = undefined
    return id
  }
  generateSpanId(): string {
    return this.#random.generateSpanId()
  }
}

const processor = (offer: (span: ReadableSpan) => void): SpanProcessor => ({
  onStart: () => undefined,
  /** What a request is, is known only when it was routed; a span is named when it starts. */
  onEnding: (span) => {
    const { attributes, kind } = span
    const route = attributes[ATTR_HTTP_ROUTE]
    if (kind === SpanKind.SERVER && route !== undefined) {
      span.updateName(`${String(attributes[ATTR_HTTP_REQUEST_METHOD])} ${String(route)}`)
    }
  },
  onEnd: offer,
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve()
})

const exporterOf = Effect.map(
  Otlp.target("traces"),
  ({ headers, timeout, url }) => new OTLPTraceExporter({ url, headers, timeoutMillis: Duration.toMillis(timeout) })
)

/**
 * What begins a trace: a request or a message. The statements of something that looks into the database by a clock would
 * each be a trace of their own, which nobody would look at.
 */
const mayBegin = ({ kind, parent }: Parameters<Tracer.Tracer["span"]>[0]): boolean =>
  Option.isSome(parent) || kind === "server" || kind === "consumer"

export const make = Effect.gen(function*() {
  const { spanBatch, spanDelay, spanQueue, tracesSampler, tracesSamplerArg } = yield* Settings
  const exporter = yield* Effect.acquireRelease(
    exporterOf,
    (exporter) => Effect.sync(() => void exporter.shutdown())
  )
  const queue = yield* ExportQueue.make<ReadableSpan>({
    signal: "traces",
    capacity: spanQueue,
    batch: Math.min(spanBatch, spanQueue),
    delay: spanDelay,
    flushWithin: Otlp.flushWithin,
    send: (spans) =>
      Effect.callback((resume) =>
        exporter.export([...spans], ({ code, error }) =>
          resume(
            code === 0
              ? Effect.void
              : Effect.fail(new ExportQueue.ExportFailed({ message: error?.message ?? "no reason was given" }))
          ))
      )
  })
  // Most requests are not recorded then, and the SDK would spend more on that decision than they may cost
  const share = tracesSampler === "parentbased_traceidratio"
    ? new TraceIdRatioBasedSampler(tracesSamplerArg)
    : undefined
  const ids = new DrawnIds()
  const provider = new BasicTracerProvider({
    resource: resourceFromAttributes(yield* Otlp.resourceAttributes),
    sampler: samplerOf(share === undefined ? tracesSampler : "parentbased_always_on", tracesSamplerArg),
    idGenerator: ids,
    spanProcessors: [processor(queue.offer)]
  })
  const otel = yield* Effect.provideService(OtelTracer.make, OtelTracer.OtelTracer, provider.getTracer("maas"))
  const followsParent = tracesSampler.startsWith("parentbased")

  // Without the SDK's own context, which would be set around each step of every fiber: nothing here asks for it
  return Tracer.make({
    span: (options) => {
      const parent = Option.getOrUndefined(options.parent)
      if (
        !mayBegin(options) ||
        (parent?.sampled === false && (followsParent || parent._tag === "Span"))
      ) return UntracedSpan.make(options)
      if (
        share !== undefined && parent === undefined &&
        share.shouldSample(ROOT_CONTEXT, ids.draw()).decision === SamplingDecision.NOT_RECORD
      ) return UntracedSpan.make(options)
      return otel.span(options)
    }
  })
})
