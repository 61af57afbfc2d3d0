/**
 * Metrics that are read when they are exported: counting a call is one addition to a plain number. Each series lives as
 * long as the scope it was made in.
 */
import { Effect, Metric } from "effect"
import type { Scope } from "effect"

/** A gauge whose value is read from `value`. */
export const gauge = Effect.fnUntraced(function*(
  metric: Metric.Gauge<number>,
  value: () => number
): Effect.fn.Return<void, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  yield* Effect.acquireRelease(
    Effect.sync(() =>
      Metric.registerUnsafe(metric, context, { get: () => ({ value: value() }), update: () => {}, modify: () => {} })
    ),
    (registration) => Effect.sync(registration.remove)
  )
})

/** Counters of one name, one for each set of attributes that was counted: their number must be bounded. */
export const counters = Effect.fnUntraced(function*(
  metricOf: (attributes: Readonly<Record<string, string>>) => Metric.Counter<number>
): Effect.fn.Return<(attributes: Readonly<Record<string, string>>) => { count: number }, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  const registrations: Array<Metric.Registration> = []
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const registration of registrations) registration.remove()
    })
  )
  return (attributes) => {
    const series = { count: 0 }
    registrations.push(Metric.registerUnsafe(metricOf(attributes), context, {
      get: () => ({ count: series.count, incremental: true }),
      update: () => {},
      modify: () => {}
    }))
    return series
  }
})
