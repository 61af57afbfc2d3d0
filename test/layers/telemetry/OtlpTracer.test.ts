import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Effect, Layer, Option, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import { Settings } from "../../../src/layers/settings/Settings.ts"
import { make } from "../../../src/layers/telemetry/OtlpTracer.ts"

const random = SecureRandom.make((size) => new Uint8Array(size))

/** Nothing is ever sent: these spans do not end. */
const tracerOf = (sampler: string, share = "1") =>
  make.pipe(
    Effect.provide(Settings.layer.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9",
      OTEL_TRACES_SAMPLER: sampler,
      OTEL_TRACES_SAMPLER_ARG: share
    }))))),
    Effect.provideService(SecureRandom.SecureRandom, random)
  )

const span = (tracer: Tracer.Tracer, kind: Tracer.SpanKind, parent?: Tracer.AnySpan) =>
  tracer.span({
    name: "span",
    parent: Option.fromUndefinedOr(parent),
    annotations: Context.empty(),
    links: [],
    startTime: 0n,
    kind,
    root: false,
    sampled: parent?.sampled ?? true
  })

const remote = (sampled: boolean) =>
  Tracer.externalSpan({ traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled })

describe("a tracer that sends by OTLP", () => {
  it.effect("records the share of new traces that is set, whole", () =>
    Effect.gen(function*() {
      const tracer = yield* tracerOf("parentbased_traceidratio", "0.25")
      const roots = Array.from({ length: 4_000 }, () => span(tracer, "server"))
      const recorded = roots.filter(({ sampled }) => sampled)
      // Seven standard deviations of the binomial distribution to either side
      assert.isAbove(recorded.length, 808)
      assert.isBelow(recorded.length, 1_192)
      assert.strictEqual(new Set(roots.map(({ traceId }) => traceId)).size, roots.length)
      for (const root of roots.slice(0, 100)) {
        const child = span(tracer, "client", root)
        assert.deepStrictEqual([child.traceId, child.sampled], [root.traceId, root.sampled])
        const grandchild = span(tracer, "internal", child)
        assert.deepStrictEqual([grandchild.traceId, grandchild.sampled], [root.traceId, root.sampled])
      }
    }).pipe(Effect.scoped))

  it.effect.each(
    [
      // sampler, of a new trace, of one that a caller records, of one that a caller does not record
      ["always_on", true, true, true],
      ["always_off", false, false, false],
      ["parentbased_always_on", true, true, false],
      ["parentbased_always_off", false, true, false],
      ["parentbased_traceidratio", true, true, false]
    ] as const
  )("decides by %s as the specification says", ([sampler, alone, yes, no]) =>
    Effect.gen(function*() {
      const tracer = yield* tracerOf(sampler)
      assert.deepStrictEqual(
        [undefined, remote(true), remote(false)].map((parent) => span(tracer, "server", parent).sampled),
        [alone, yes, no]
      )
      assert.strictEqual(span(tracer, "server", remote(true)).traceId, remote(true).traceId)
      assert.strictEqual(span(tracer, "server", remote(false)).traceId, remote(false).traceId)
    }).pipe(Effect.scoped))

  it.effect("begins no trace with what nobody asked for", () =>
    Effect.gen(function*() {
      const tracer = yield* tracerOf("always_on")
      const kinds = ["server", "consumer", "client", "producer", "internal"] as const
      assert.deepStrictEqual(kinds.map((kind) => span(tracer, kind).sampled), [true, true, false, false, false])
    }).pipe(Effect.scoped))
})
