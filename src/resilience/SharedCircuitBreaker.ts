/**
 * Circuit breakers whose state is that of all replicas together, in a `CircuitStore`: what one replica has found out the
 * others need not, and a circuit that is half-open lets N probes through, not N for each replica.
 *
 * Each call asks the store before and tells it after: two round trips more. While the store is away every replica has a
 * circuit of its own, which begins as the shared one was last seen; the metric `circuit_breaker_store_up` is 0 meanwhile,
 * and one call in `retryStoreAfter` finds out whether the store is back.
 */
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import * as CircuitCounters from "./circuit/CircuitCounters.ts"
import { fromOptions } from "./circuit/CircuitSettings.ts"
import type { CircuitOptions } from "./circuit/CircuitSettings.ts"
import { SharedCircuits } from "./circuit/SharedCircuits.ts"
import { run } from "./circuit/SharedRun.ts"
import { list, snapshot } from "./circuit/SharedSnapshots.ts"
import { checkMaxKeys, makeTransitions } from "./CircuitBreaker.ts"
import type { CircuitBreaker, KeyedCircuitBreaker, KeyedCircuitOptions, Observed } from "./CircuitBreaker.ts"
import { CircuitStore } from "./CircuitStore.ts"
import { checked, timeSpan } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { show } from "./PulledMetrics.ts"

export interface SharedOptions {
  /** How long a store that failed is left alone before it is asked again. 1 second when not given. */
  readonly retryStoreAfter?: Duration.Input | undefined
}

export interface SharedCircuitBreaker extends CircuitBreaker, Observed {}

const handle = (circuits: SharedCircuits, key: string | undefined): CircuitBreaker => {
  const { settings } = circuits
  return {
    name: settings.name,
    settings,
    run: (self, classify) => run(circuits, self, key, classify),
    snapshot: snapshot(circuits, key),
    force: (mode) => Effect.asVoid(circuits.step(key, { _tag: "Force", mode })),
    reset: Effect.asVoid(circuits.step(key, { _tag: "Reset" }))
  }
}

const circuitsOf = Effect.fnUntraced(
  function*(
    { retryStoreAfter = "1 second", ...options }: CircuitOptions & SharedOptions,
    maxKeys: number
  ): Effect.fn.Return<
    { readonly circuits: SharedCircuits; readonly transitions: Observed["transitions"] },
    InvalidSettings,
    CircuitStore | Scope.Scope
  > {
    const store = yield* CircuitStore
    const retryMillis = Duration.toMillis(retryStoreAfter)
    yield* checked(`The circuit breaker "${options.name}"`, undefined, [timeSpan("retryStoreAfter", retryMillis)])
    const settings = yield* fromOptions(options)
    const { publish, transitions } = yield* makeTransitions
    const circuits = new SharedCircuits(settings, store, publish, retryMillis, maxKeys)
    const attributes = { breaker: settings.name }
    yield* CircuitCounters.shown(settings.name, circuits.counters, (state) => circuits.countIn(state))
    yield* show([
      { type: "Gauge", id: "circuit_breaker_store_up", attributes, read: () => circuits.isLost ? 0 : 1 },
      { type: "Counter", id: "circuit_breaker_unshared_total", attributes, read: () => circuits.unshared }
    ])
    return { circuits, transitions }
  }
)

/** A breaker with one circuit for all replicas. Its metrics are shown for as long as the scope lives. */
export const make = (
  options: CircuitOptions & SharedOptions
): Effect.Effect<SharedCircuitBreaker, InvalidSettings, CircuitStore | Scope.Scope> =>
  Effect.map(
    circuitsOf(options, 1),
    ({ circuits, transitions }) => ({ ...handle(circuits, undefined), transitions })
  )

/**
 * A breaker with a circuit for each key. `maxKeys` bounds what is known of them here; how many the store keeps is its own
 * setting.
 */
export const makeKeyed = Effect.fnUntraced(
  function*(
    { maxKeys = 10_000, ...options }: KeyedCircuitOptions & SharedOptions
  ): Effect.fn.Return<KeyedCircuitBreaker, InvalidSettings, CircuitStore | Scope.Scope> {
    yield* checkMaxKeys(options.name, maxKeys)
    const { circuits, transitions } = yield* circuitsOf(options, maxKeys)
    return {
      name: options.name,
      settings: circuits.settings,
      at: (key) => handle(circuits, key),
      list: list(circuits),
      transitions
    }
  }
)
