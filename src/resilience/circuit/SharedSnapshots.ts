/** Circuits in a store, to look at. */
import { Duration, Effect } from "effect"
import { snapshotOf } from "../CircuitBreaker.ts"
import type { CircuitSnapshot } from "../CircuitBreaker.ts"
import type { CircuitView } from "../CircuitStore.ts"
import type { SharedCircuits } from "./SharedCircuits.ts"

/** The circuit as it is; as it is here while the store is away. */
export const snapshot = (circuits: SharedCircuits, key: string | undefined): Effect.Effect<CircuitSnapshot> =>
  Effect.clockWith((clock) => {
    const here = Effect.sync(() => ({
      ...snapshotOf(circuits.settings, circuits.peekHere(key, clock), clock),
      key
    }))
    return circuits.isAsked(clock)
      ? Effect.matchEffect(circuits.step(key, { _tag: "Look" }), {
        onSuccess: ({ after }) => Effect.succeed(shown(circuits.settings.name, key, after)),
        onFailure: () => here
      })
      : here
  })

const shown = (breaker: string, key: string | undefined, view: CircuitView): CircuitSnapshot => ({
  breaker,
  key,
  state: view.state,
  generation: view.generation,
  sinceFor: Duration.millis(view.sinceMillis),
  retryAfter: view.openMillis === undefined ? undefined : Duration.millis(view.openMillis),
  calls: view.calls
})

/** The circuits that the store knows; while it is away those that were seen here. */
export const list = (circuits: SharedCircuits): Effect.Effect<ReadonlyArray<CircuitSnapshot>> =>
  Effect.clockWith((clock) => {
    const here = Effect.suspend(() => Effect.forEach(circuits.keysSeen, (key) => snapshot(circuits, key)))
    return circuits.isAsked(clock)
      ? Effect.matchEffect(circuits.keys, {
        onSuccess: (keys) =>
          Effect.map(
            Effect.forEach(keys, (key) => snapshot(circuits, key), { concurrency: 64 }),
            (known) => known.filter(({ generation }) => generation > 0)
          ),
        onFailure: () => here
      })
      : here
  })
