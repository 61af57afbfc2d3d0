import { Context, Effect, Layer } from "effect"
import { PrometheusMetrics } from "effect/observability"
import { collectDefaultMetrics, Registry } from "prom-client"

/** What Prometheus scrapes: the figures that layers register here, Node's own, and Effect's metrics. */
export class Prometheus extends Context.Service<Prometheus, {
  readonly registry: Registry
  /** The text exposition format, version 0.0.4. */
  readonly render: Effect.Effect<string>
}>()("maas/layers/telemetry/Prometheus") {
  static readonly layer = Layer.effect(
    Prometheus,
    Effect.sync(() => {
      const registry = new Registry()
      collectDefaultMetrics({ register: registry })
      return Prometheus.of({
        registry,
        render: Effect.map(
          Effect.all([Effect.promise(() => registry.metrics()), PrometheusMetrics.format()]),
          (texts) => texts.join("\n")
        )
      })
    })
  )
}
