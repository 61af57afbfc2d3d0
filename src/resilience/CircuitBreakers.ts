/** Makes the circuit breakers of a program: with their state in this process, or in the store of all replicas. */
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import * as CircuitBreaker from "./CircuitBreaker.ts"
import type { KeyedCircuitBreaker, KeyedCircuitOptions } from "./CircuitBreaker.ts"
import { CircuitStore } from "./CircuitStore.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import * as SharedCircuitBreaker from "./SharedCircuitBreaker.ts"
import type { SharedOptions } from "./SharedCircuitBreaker.ts"

export class CircuitBreakers extends Context.Service<CircuitBreakers, {
  readonly makeKeyed: (options: KeyedCircuitOptions) => Effect.Effect<KeyedCircuitBreaker, InvalidSettings, Scope.Scope>
}>()("maas/resilience/CircuitBreakers") {
  /** Each replica finds out for itself. */
  static readonly layerLocal: Layer.Layer<CircuitBreakers> = Layer.succeed(CircuitBreakers, {
    makeKeyed: CircuitBreaker.makeKeyed
  })

  /** All replicas together; see `SharedCircuitBreaker` for what that costs a call. */
  static readonly layerShared = (options: SharedOptions = {}): Layer.Layer<CircuitBreakers, never, CircuitStore> =>
    Layer.effect(
      CircuitBreakers,
      Effect.map(CircuitStore, (store) =>
        CircuitBreakers.of({
          makeKeyed: (keyed) =>
            Effect.provideService(SharedCircuitBreaker.makeKeyed({ ...options, ...keyed }), CircuitStore, store)
        }))
    )
}
