import { Effect, Metric } from "effect"
import type { Scope } from "effect"

/** Runs in a scope and with a metric registry of its own. */
export const apart = <A, E, R>(effect: Effect.Effect<A, E, R | Scope.Scope>): Effect.Effect<
  A,
  E,
  Exclude<R, Scope.Scope>
> => Effect.scoped(effect).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

/** The values of a metric, by one of its labels; by nothing where it has no such label. */
export const counted = (id: string, label = "outcome"): Effect.Effect<Record<string, number>> =>
  Effect.map(
    Metric.snapshot,
    (all) =>
      Object.fromEntries(all.flatMap((one) =>
        one.id === id && (one.type === "Counter" || one.type === "Gauge")
          ? [[one.attributes?.[label] ?? "", Number(one.type === "Counter" ? one.state.count : one.state.value)]]
          : []
      ))
  )

/** Law 46: what began and how it ended, of a metric `<prefix>_total` by outcome. */
export const callsCounted = (prefix: string) =>
  Effect.gen(function*() {
    const { "": begun = 0 } = yield* counted(`${prefix}_begun_total`)
    const { failed = 0, interrupted = 0, rejected = 0, succeeded = 0 } = yield* counted(`${prefix}_total`)
    return { begun, ended: succeeded + failed + rejected + interrupted, succeeded, failed, rejected, interrupted }
  })
