/** Every panel of the dashboard has something to show, and an alert fires and resolves when a role goes and comes back. */
import { Effect, Schema } from "effect"
import { ask, read } from "../Http.ts"
import type { Monitoring } from "../Monitoring.ts"
import { check, eventually, say } from "../Narrator.ts"
import type { Call, Platform } from "../Platform.ts"
import { infer, metric } from "../Platform.ts"

const Samples = Schema.Struct({
  status: Schema.String,
  data: Schema.Struct({ result: Schema.Array(Schema.Struct({ value: Schema.Tuple([Schema.Finite, Schema.String]) })) })
})

const figures = {
  "requests a second": "sum(rate(app_request_count_total[30s]))",
  "P50, seconds": "histogram_quantile(0.5, sum by (le) (rate(app_request_latency_seconds_bucket[30s])))",
  "P95, seconds": "histogram_quantile(0.95, sum by (le) (rate(app_request_latency_seconds_bucket[30s])))",
  "P99, seconds": "histogram_quantile(0.99, sum by (le) (rate(app_request_latency_seconds_bucket[30s])))",
  "errors, share of all":
    `(sum(rate(app_request_count_total{status=~"5.."}[30s])) or vector(0)) / sum(rate(app_request_count_total[30s]))`
}

const traffic = (call: Call) => Effect.all(Array.from({ length: 200 }, () => infer(call, "iris")), { concurrency: 8 })

/** The alert that a role which is away brings. */
const alert = "TargetDown"

export const play = Effect.fnUntraced(
  function*(platform: Platform, { alertmanager, prometheus, told }: Monitoring, call: Call) {
    yield* traffic(call)
    if (prometheus === undefined) {
      const [gateway] = platform.gateways
      const counted = yield* metric(gateway, "app_request_count_total")
      yield* check("/metrics counts the requests", counted > 200, counted)
      return
    }
    const value = (expression: string) =>
      Effect.map(
        Effect.flatMap(ask(`${prometheus}/api/v1/query?query=${encodeURIComponent(expression)}`), read(Samples)),
        ({ data: { result } }) => result[0]?.value[1]
      )
    yield* Effect.forEach(Object.entries(figures), ([name, expression]) =>
      Effect.gen(function*() {
        const seen = yield* eventually(`Prometheus knows ${name}`, value(expression), "20 seconds")
        yield* say(`${name}: ${Number(seen).toPrecision(3)}`)
      }))
    yield* check("a rate, the percentiles of latency and the share of errors are there", true, "")
    if (!alertmanager) return

    const lastWord = () => told.findLast((word) => word.endsWith(` ${alert}`))
    yield* eventually(
      `all targets are up: ${alert} is silent`,
      Effect.sync(() => lastWord() === `firing ${alert}` ? undefined : true),
      "30 seconds"
    )
    yield* check(`all targets are up: ${alert} is silent`, true, told)
    const { processor } = platform
    yield* processor.signal("SIGTERM")
    yield* processor.ended
    yield* say("the processor is told to end (SIGTERM)")
    yield* eventually(
      `${alert} fires and reaches the receiver`,
      Effect.sync(() => lastWord() === `firing ${alert}` ? true : undefined),
      "30 seconds"
    )
    yield* check(`${alert} fires, and Alertmanager delivers it`, true, told)
    yield* processor.again
    yield* say("the processor is started again")
    yield* eventually(
      `${alert} is resolved`,
      Effect.sync(() => lastWord() === `resolved ${alert}` ? true : undefined),
      "30 seconds"
    )
    yield* check(`${alert} is resolved, and Alertmanager says so`, true, told)
  }
)
