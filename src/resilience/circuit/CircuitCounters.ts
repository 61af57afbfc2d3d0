import { Context, Effect, Metric } from "effect"
import type { Scope } from "effect"
import type { StateName } from "./CircuitState.ts"

/**
 * What happened to the calls of one breaker, all its circuits together. Plain numbers, because a counter of a metric
 * registry costs more than the whole breaker; the registry reads them when it is read itself.
 */
export interface CircuitCounters {
  succeeded: number
  failed: number
  ignored: number
  interrupted: number
  rejected: number
  /** Permits given: the calls above that ran, and those still running. */
  permits: number
  /** Of the calls above, those whose circuit had gone on to another generation: they counted for nothing. */
  late: number
  transitions: number
}

export const zero = (): CircuitCounters => ({
  succeeded: 0,
  failed: 0,
  ignored: 0,
  interrupted: 0,
  rejected: 0,
  permits: 0,
  late: 0,
  transitions: 0
})

const outcomes = ["succeeded", "failed", "ignored", "interrupted", "rejected"] as const
const states: ReadonlyArray<StateName> = [
  "Closed",
  "Open",
  "HalfOpen",
  "ForcedOpen",
  "ForcedClosed",
  "Disabled",
  "MetricsOnly"
]

const register = (
  context: Context.Context<never>,
  name: string,
  counters: CircuitCounters,
  circuitsIn: (state: StateName) => number
): ReadonlyArray<Metric.Registration> => {
  const counter = (id: string, attributes: Record<string, string>, count: () => number) => {
    const metric = Metric.counter(id, { attributes, incremental: true })
    const ignore = () => undefined
    return Metric.registerUnsafe(metric, context, {
      get: () => ({ count: count(), incremental: true }),
      update: ignore,
      modify: ignore
    })
  }
  const gauge = (id: string, attributes: Record<string, string>, value: () => number) => {
    const ignore = () => undefined
    return Metric.registerUnsafe(Metric.gauge(id, { attributes }), context, {
      get: () => ({ value: value() }),
      update: ignore,
      modify: ignore
    })
  }
  return [
    ...outcomes.map((outcome) =>
      counter("circuit_breaker_calls_total", { breaker: name, outcome }, () => counters[outcome])
    ),
    counter("circuit_breaker_permits_total", { breaker: name }, () => counters.permits),
    counter("circuit_breaker_late_results_total", { breaker: name }, () => counters.late),
    counter("circuit_breaker_transitions_total", { breaker: name }, () => counters.transitions),
    ...states.map((state) => gauge("circuit_breaker_circuits", { breaker: name, state }, () => circuitsIn(state)))
  ]
}

/** Shows the counters in the metric registry of the context for as long as the scope lives. */
export const registered = (
  name: string,
  counters: CircuitCounters,
  circuitsIn: (state: StateName) => number
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.sync(() => register(context, name, counters, circuitsIn))
    ),
    (registrations) =>
      Effect.sync(() => {
        for (const registration of registrations) registration.remove()
      })
  ).pipe(Effect.asVoid)
