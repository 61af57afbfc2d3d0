import { Context, Effect, Layer } from "effect"
import { Counter, Gauge, Histogram } from "prom-client"
import { Prometheus } from "./Prometheus.ts"

/** The figures of the HTTP API. */
export class HttpMetrics extends Context.Service<HttpMetrics, {
  /** `endpoint` is the route's pattern, never a raw path; `seconds` is how long the answer took. */
  readonly observe: (method: string, endpoint: string, status: number, seconds: number) => void
  readonly requestStarted: () => void
  readonly requestEnded: () => void
  readonly connectionOpened: () => void
  readonly connectionClosed: () => void
}>()("maas/layers/telemetry/HttpMetrics") {
  static readonly layer = Layer.effect(
    HttpMetrics,
    Effect.map(Prometheus, ({ registry }) => {
      const count = new Counter({
        name: "app_request_count_total",
        help: "Requests answered, by method, route pattern and status",
        labelNames: ["method", "endpoint", "status"],
        registers: [registry]
      })
      const latency = new Histogram({
        name: "app_request_latency_seconds",
        help: "Time from a request's arrival to its answer, in seconds",
        labelNames: ["method", "endpoint"],
        buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
        registers: [registry]
      })
      const active = new Gauge({
        name: "app_active_requests",
        help: "Requests that are being answered now",
        registers: [registry]
      })
      const connections = new Gauge({
        name: "app_active_connections",
        help: "Connections of clients that are open now",
        registers: [registry]
      })
      // Finding a series by its labels costs more than counting in it; routes and statuses are few
      const series = new Map<
        string,
        { readonly count: Counter.Internal; readonly latency: Histogram.Internal<string> }
      >()
      const seriesOf = (method: string, endpoint: string, status: number) => {
        const key = `${status} ${method} ${endpoint}`
        const known = series.get(key)
        if (known !== undefined) return known
        const made = {
          count: count.labels(method, endpoint, String(status)),
          latency: latency.labels(method, endpoint)
        }
        series.set(key, made)
        return made
      }
      return HttpMetrics.of({
        observe: (method, endpoint, status, seconds) => {
          const { count, latency } = seriesOf(method, endpoint, status)
          count.inc()
          latency.observe(seconds)
        },
        requestStarted: () => active.inc(),
        requestEnded: () => active.dec(),
        connectionOpened: () => connections.inc(),
        connectionClosed: () => connections.dec()
      })
    })
  )
}
