import { Context, Effect, Layer, Metric } from "effect"

/** Upper bounds, in seconds. */
const boundaries = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** The answers of one route with one status. */
interface Answers {
  count: number
  readonly latency: Latencies
}

/** A histogram of seconds. */
class Latencies {
  /** By bucket, the last for what is above all bounds. */
  readonly #counts = Array.from({ length: boundaries.length + 1 }, () => 0)
  #sum = 0
  #min = Infinity
  #max = -Infinity

  observe(seconds: number): void {
    let bucket = 0
    for (const bound of boundaries) {
      if (seconds <= bound) break
      bucket++
    }
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#sum += seconds
    this.#min = Math.min(this.#min, seconds)
    this.#max = Math.max(this.#max, seconds)
  }

  get state(): Metric.HistogramState {
    let count = 0
    const buckets = boundaries.map((bound, index): [number, number] => {
      count += this.#counts[index] ?? 0
      return [bound, count]
    })
    return {
      buckets,
      count: count + (this.#counts[boundaries.length] ?? 0),
      sum: this.#sum,
      min: this.#min,
      max: this.#max
    }
  }
}

const ignore = () => undefined

/**
 * The figures of the HTTP API. They are counted in plain numbers, which the registry of metrics reads when it is asked: a
 * counter of its own, found by its labels, would cost each request more than all of this.
 */
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
    Effect.gen(function*() {
      const context = yield* Effect.context()
      const registrations: Array<Metric.Registration> = []
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          for (const registration of registrations) registration.remove()
        })
      )

      const gauge = (id: string, description: string) => {
        const state = { value: 0 }
        registrations.push(
          Metric.registerUnsafe(Metric.gauge(id, { description }), context, {
            get: () => ({ value: state.value }),
            update: ignore,
            modify: ignore
          })
        )
        return state
      }
      const active = gauge("app_active_requests", "Requests that are being answered now")
      const connections = gauge("app_active_connections", "Connections of clients that are open now")

      const counterOf = (method: string, endpoint: string, status: number, latency: Latencies): Answers => {
        const answers = { count: 0, latency }
        registrations.push(
          Metric.registerUnsafe(
            Metric.counter("app_request_count_total", {
              description: "Requests answered, by method, route pattern and status",
              attributes: { method, endpoint, status: String(status) },
              incremental: true
            }),
            context,
            { get: () => ({ count: answers.count, incremental: true }), update: ignore, modify: ignore }
          )
        )
        return answers
      }
      const histogramOf = (method: string, endpoint: string): Latencies => {
        const latency = new Latencies()
        registrations.push(
          Metric.registerUnsafe(
            Metric.histogram("app_request_latency_seconds", {
              description: "Time from a request's arrival to its answer, in seconds",
              attributes: { method, endpoint },
              boundaries
            }),
            context,
            { get: () => latency.state, update: ignore, modify: ignore }
          )
        )
        return latency
      }

      // Routes and statuses are few
      const latencies = new Map<string, Latencies>()
      const answered = new Map<string, Answers>()
      const kept = <A>(all: Map<string, A>, key: string, make: () => A): A => {
        const known = all.get(key)
        if (known !== undefined) return known
        const made = make()
        all.set(key, made)
        return made
      }

      return HttpMetrics.of({
        observe: (method, endpoint, status, seconds) => {
          const answers = kept(answered, `${status} ${method} ${endpoint}`, () =>
            counterOf(
              method,
              endpoint,
              status,
              kept(latencies, `${method} ${endpoint}`, () => histogramOf(method, endpoint))
            ))
          answers.count++
          answers.latency.observe(seconds)
        },
        requestStarted: () => active.value++,
        requestEnded: () => active.value--,
        connectionOpened: () => connections.value++,
        connectionClosed: () => connections.value--
      })
    })
  )
}
