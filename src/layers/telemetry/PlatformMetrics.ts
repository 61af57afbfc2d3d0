import { Duration, Effect, Layer } from "effect"
import { Counter, Gauge } from "prom-client"
import { OutboxStore } from "../../messaging/OutboxStore.ts"
import { lags } from "../../services/EventTopics.ts"
import { RunnerFigures } from "../onnx/RunnerFigures.ts"
import { Prometheus } from "./Prometheus.ts"

const refreshEvery = "10 seconds"

/** The figures of runners. */
export const runners = Layer.effectDiscard(Effect.gen(function*() {
  const { registry } = yield* Prometheus
  const runners = yield* RunnerFigures
  const registers = [registry]

  const count = (name: string, help: string, value: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(value())
      }
    })
  const read = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      }
    })
  read("maas_runner_processes", "Runner processes alive", () => runners.processes)
  read("maas_models_loaded", "Models that are loaded", () => runners.models)
  count("maas_model_loads_total", "Models loaded since the start", () => runners.loads)
  read("maas_inference_in_flight", "Calls that a runner works on", () => runners.inFlight)
  read("maas_inference_waiting", "Calls that wait for a runner", () => runners.waiting)
  count("maas_runner_crashes_total", "Runners that ended by themselves", () => runners.crashes)
  new Counter({
    name: "maas_runner_kills_total",
    help: "Runners ended before their time, by reason",
    labelNames: ["reason"],
    registers,
    collect() {
      this.reset()
      for (const [reason, count] of Object.entries(runners.kills)) this.inc({ reason }, count)
    }
  })
}))

/**
 * The figures of outbox and consumers. They cost a query, and are refreshed by a clock of their own, so that no scrape
 * waits for the database.
 */
export const messaging = Layer.effectDiscard(Effect.gen(function*() {
  const { registry } = yield* Prometheus
  const outbox = yield* OutboxStore
  const registers = [registry]

  const backlog = new Gauge({
    name: "maas_outbox_messages",
    help: "Committed messages that wait for publication",
    registers
  })
  const age = new Gauge({
    name: "maas_outbox_oldest_seconds",
    help: "Age of the oldest of them, in seconds",
    registers
  })
  const lag = new Gauge({
    name: "messaging_consumer_lag",
    help: "Records that a group has not handled yet, by topic and partition",
    labelNames: ["group", "topic", "partition"],
    registers
  })

  const refresh = Effect.gen(function*() {
    const { count, oldestAge } = yield* outbox.backlog
    backlog.set(count)
    age.set(Duration.toSeconds(oldestAge))
    for (const { group, lag: behind, partition, topic } of yield* lags) lag.set({ group, topic, partition }, behind)
  })
  yield* refresh.pipe(
    Effect.catch((error) => Effect.logDebug("Figures can't be read now", error)),
    Effect.andThen(Effect.sleep(refreshEvery)),
    Effect.forever,
    Effect.forkScoped
  )
}))
