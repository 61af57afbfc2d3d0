import type { Clock } from "effect"
import type { CircuitCounters } from "./CircuitCounters.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import { nameOf } from "./CircuitState.ts"
import type { CircuitState, StateName } from "./CircuitState.ts"
import { MemoryCircuit } from "./MemoryCircuit.ts"
import type { Transition } from "./MemoryCircuit.ts"

/** Circuits looked at, oldest first, for one that can go. */
const candidates = 16

/**
 * The circuits of a keyed breaker, at most `capacity` of them. A new key beyond that takes the place of a circuit that
 * was used least lately: a closed one if one is near, since it protects nothing now; else the oldest that no operator
 * holds. A call that still runs in a circuit that went settles there, and touches no newer one.
 */
export class Circuits {
  readonly #settings: CircuitSettings
  readonly #counters: CircuitCounters
  readonly #onTransition: (transition: Transition) => void
  readonly #capacity: number
  readonly #begin: ((key: string, now: number) => CircuitState) | undefined
  /** Least lately used first. */
  readonly #byKey = new Map<string, MemoryCircuit>()
  #latest: MemoryCircuit | undefined

  constructor(
    settings: CircuitSettings,
    counters: CircuitCounters,
    onTransition: (transition: Transition) => void,
    capacity: number,
    /** The state that a circuit begins with; closed when not given. */
    begin?: (key: string, now: number) => CircuitState
  ) {
    this.#settings = settings
    this.#counters = counters
    this.#onTransition = onTransition
    this.#capacity = capacity
    this.#begin = begin
  }

  values(): Iterable<MemoryCircuit> {
    return this.#byKey.values()
  }

  /** The key's circuit to look at: one that is not known is closed, and stays unknown. */
  peek(key: string, clock: Clock.Clock): MemoryCircuit {
    return this.#byKey.get(key) ?? this.#make(key, clock)
  }

  /** The key's circuit, made when there is none. */
  at(key: string, clock: Clock.Clock): MemoryCircuit {
    const latest = this.#latest
    if (latest !== undefined && latest.key === key) return latest
    let circuit = this.#byKey.get(key)
    if (circuit === undefined) {
      if (this.#byKey.size >= this.#capacity) this.#evict()
      circuit = this.#make(key, clock)
    } else {
      this.#byKey.delete(key)
    }
    this.#byKey.set(key, circuit)
    this.#latest = circuit
    return circuit
  }

  clear(): void {
    this.#byKey.clear()
    this.#latest = undefined
  }

  countIn(state: StateName): number {
    let count = 0
    for (const circuit of this.#byKey.values()) if (nameOf(circuit.state) === state) count++
    return count
  }

  #make(key: string, clock: Clock.Clock): MemoryCircuit {
    const now = clock.currentTimeMillisUnsafe()
    return new MemoryCircuit(this.#settings, key, this.#counters, this.#onTransition, now, this.#begin?.(key, now))
  }

  #evict(): void {
    let victim: MemoryCircuit | undefined
    let seen = 0
    for (const circuit of this.#byKey.values()) {
      const tag = circuit.state._tag
      if (tag === "Closed") {
        victim = circuit
        break
      }
      if (tag !== "Forced") victim ??= circuit
      if (++seen >= candidates && victim !== undefined) break
    }
    if (victim?.key === undefined) return
    this.#byKey.delete(victim.key)
    if (this.#latest === victim) this.#latest = undefined
  }
}
