/**
 * Metrics that are read when the registry is. Updating a counter of the registry costs more than a policy's whole
 * decision, so hot paths count in plain numbers and show them this way.
 */
import { Effect, Metric } from "effect"
import type { Context, Scope } from "effect"

export interface Reading {
  readonly type: "Counter" | "Gauge"
  readonly id: string
  readonly attributes: Readonly<Record<string, string>>
  readonly read: () => number
}

const ignore = () => undefined

const register = ({ attributes, id, read, type }: Reading, context: Context.Context<never>): Metric.Registration =>
  type === "Counter"
    ? Metric.registerUnsafe(Metric.counter(id, { attributes, incremental: true }), context, {
      get: () => ({ count: read(), incremental: true }),
      update: ignore,
      modify: ignore
    })
    : Metric.registerUnsafe(Metric.gauge(id, { attributes }), context, {
      get: () => ({ value: read() }),
      update: ignore,
      modify: ignore
    })

/** Shows the readings in the metric registry of the context for as long as the scope lives. */
export const show = (readings: ReadonlyArray<Reading>): Effect.Effect<void, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.contextWith((context: Context.Context<never>) =>
      Effect.sync(() => readings.map((reading) => register(reading, context)))
    ),
    (registrations) =>
      Effect.sync(() => {
        for (const registration of registrations) registration.remove()
      })
  ).pipe(Effect.asVoid)

/** The answers of a cache that counts nothing but these, named as those of `SingleFlightCache`. */
export const hitsAndMisses = (
  cache: string,
  answers: { readonly hit: number; readonly miss: number }
): ReadonlyArray<Reading> =>
  (["hit", "miss"] as const).map((answer) => ({
    type: "Counter",
    id: "cache_answers_total",
    attributes: { cache, answer },
    read: () => answers[answer]
  }))
