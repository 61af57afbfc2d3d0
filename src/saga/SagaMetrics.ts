import { Effect, Metric } from "effect"

const started = Metric.counter("saga_started_total", {
  description: "Sagas started, by definition",
  incremental: true
})

const ended = Metric.counter("saga_ended_total", {
  description: "Sagas that came to an end or were parked, by definition and outcome",
  incremental: true
})

const duration = Metric.histogram("saga_duration_seconds", {
  description: "Time from a saga's start to its end, restarts included",
  boundaries: [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600]
})

const inFlight = Metric.gauge("saga_in_flight", { description: "Sagas that this process is running" })
const parked = Metric.gauge("saga_parked", { description: "Sagas that wait for an operator" })

const recovered = Metric.counter("saga_recovered_total", {
  description: "Sagas taken over from other processes, by definition",
  incremental: true
})

export type SagaOutcome = "completed" | "compensated" | "parked"

/** The metrics of one definition, found once. */
export const of = (saga: string) => {
  const durations = Metric.withAttributes(duration, { saga })
  const flying = Metric.withAttributes(inFlight, { saga })
  const outcomes = {
    completed: Metric.withAttributes(ended, { saga, outcome: "completed" }),
    compensated: Metric.withAttributes(ended, { saga, outcome: "compensated" }),
    parked: Metric.withAttributes(ended, { saga, outcome: "parked" })
  }
  const startedHere = Metric.withAttributes(started, { saga })
  const recoveredHere = Metric.withAttributes(recovered, { saga })
  return {
    started: Effect.withFiberSucceed(({ context }) => startedHere.updateUnsafe(1, context)),
    recovered: Metric.update(recoveredHere, 1),
    ended: (outcome: SagaOutcome, millis: number): Effect.Effect<void> =>
      Effect.withFiberSucceed(({ context }) => {
        outcomes[outcome].updateUnsafe(1, context)
        durations.updateUnsafe(millis / 1_000, context)
      }),
    inFlight: <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.uninterruptibleMask((restore) =>
        Effect.withFiber(({ context }) => {
          flying.modifyUnsafe(1, context)
          return Effect.onExit(restore(effect), () => Effect.sync(() => flying.modifyUnsafe(-1, context)))
        })
      )
  }
}

/** Shows how many sagas are parked, by definition; those that `counts` lacks have none. */
export const showParked = (names: Iterable<string>, counts: ReadonlyMap<string, number>): Effect.Effect<void> =>
  Effect.forEach(
    new Set([...names, ...counts.keys()]),
    (saga) => Metric.update(Metric.withAttributes(parked, { saga }), counts.get(saga) ?? 0),
    { discard: true }
  )
