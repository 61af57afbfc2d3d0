import type { Effect, Scope } from "effect"
import { show } from "../PulledMetrics.ts"
import type { Reading } from "../PulledMetrics.ts"
import type { Outcome, StateName } from "./CircuitState.ts"

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
  /** Permits given: the calls above that ran, and those still running; those of a closed circuit once they end. */
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

/** Counts a call that ended. */
export const count = (counters: CircuitCounters, outcome: Outcome): void => {
  switch (outcome) {
    case "Success":
      counters.succeeded++
      break
    case "Failure":
      counters.failed++
      break
    case "Ignored":
      counters.ignored++
      break
    case "Interrupted":
      counters.interrupted++
      break
  }
}

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

/** Shows the counters, and how many circuits are in which state, for as long as the scope lives. */
export const shown = (
  breaker: string,
  counters: CircuitCounters,
  circuitsIn: (state: StateName) => number
): Effect.Effect<void, never, Scope.Scope> => {
  const counter = (name: string, read: () => number, attributes?: Record<string, string>): Reading => ({
    type: "Counter",
    id: `circuit_breaker_${name}_total`,
    attributes: { breaker, ...attributes },
    read
  })
  return show([
    ...outcomes.map((outcome) => counter("calls", () => counters[outcome], { outcome })),
    counter("permits", () => counters.permits),
    counter("late_results", () => counters.late),
    counter("transitions", () => counters.transitions),
    ...states.map((state): Reading => ({
      type: "Gauge",
      id: "circuit_breaker_circuits",
      attributes: { breaker, state },
      read: () => circuitsIn(state)
    }))
  ])
}
