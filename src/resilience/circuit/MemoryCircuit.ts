import type { Clock } from "effect"
import * as Automaton from "./Automaton.ts"
import { count } from "./CircuitCounters.ts"
import type { CircuitCounters } from "./CircuitCounters.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import { nameOf } from "./CircuitState.ts"
import type { Admission, CircuitState, ForcedMode, Outcome, Permit, StateName } from "./CircuitState.ts"

/** A change of a circuit's state. `at` is in milliseconds of the circuit's clock. */
export interface Transition {
  readonly breaker: string
  /** The circuit's key; undefined where the breaker has one circuit. */
  readonly key: string | undefined
  readonly from: StateName
  readonly to: StateName
  readonly generation: number
  readonly at: number
  /** How long it stays open, if it opened. */
  readonly openMillis: number | undefined
  /** Whether it is one of a circuit that replicas share; each of those is told once, by the replica that made it. */
  readonly isShared: boolean
}

const transitionOf = (
  breaker: string,
  key: string | undefined,
  before: CircuitState,
  after: CircuitState,
  at: number
): Transition => ({
  breaker,
  key,
  from: nameOf(before),
  to: nameOf(after),
  generation: after.generation,
  at,
  openMillis: after._tag === "Open" ? after.until - after.since : undefined,
  isShared: false
})

/**
 * The automaton's atomic store in memory: one step runs to its end before the next, as all of it is synchronous. The
 * automaton's clock is the caller's with its backward steps left out, so that a clock set back stretches no open time.
 */
export class MemoryCircuit {
  readonly key: string | undefined
  readonly #settings: CircuitSettings
  readonly #counters: CircuitCounters
  readonly #onTransition: (transition: Transition) => void
  #state: CircuitState
  #last: number
  #skew = 0

  constructor(
    settings: CircuitSettings,
    key: string | undefined,
    counters: CircuitCounters,
    onTransition: (transition: Transition) => void,
    now: number,
    state: CircuitState = Automaton.initial(settings, now)
  ) {
    this.#settings = settings
    this.key = key
    this.#counters = counters
    this.#onTransition = onTransition
    this.#state = state
    this.#last = now
  }

  get state(): CircuitState {
    return this.#state
  }

  get isDisabled(): boolean {
    return this.#state._tag === "Forced" && this.#state.mode === "Disabled"
  }

  /** Reads the circuit's clock, in milliseconds: what every other method takes as `now`. */
  now(clock: Pick<Clock.Clock, "currentTimeMillisUnsafe">): number {
    const now = clock.currentTimeMillisUnsafe()
    if (now < this.#last) this.#skew += this.#last - now
    this.#last = now
    return now + this.#skew
  }

  /** Asks for a permit; each one given must be settled exactly once. */
  admit(now: number): Admission {
    const { decision, state } = Automaton.admit(this.#settings, this.#state, now)
    this.#move(state, now)
    if (decision._tag === "Admitted") this.#counters.permits++
    else this.#counters.rejected++
    return decision
  }

  /**
   * The permit that a closed circuit gives to every call, without a look at the clock; undefined in any other state.
   * It holds nothing, so it is counted only when the call ends, by `countClosed`.
   */
  get closedPermit(): Permit | undefined {
    const state = this.#state
    return state._tag === "Closed" ? state.permit : undefined
  }

  countClosed(): void {
    this.#counters.permits++
  }

  /** Settles a success that changes nothing, again without a look at the clock; false if it might change something. */
  settleSteady(permit: Permit): boolean {
    const state = this.#state
    if (state._tag !== "Closed" || state.generation !== permit.generation) return false
    if (state.window._tag !== "Streak" || state.window.failures > 0) return false
    this.#counters.succeeded++
    return true
  }

  settle(permit: Permit, outcome: Outcome, startedAt: number, now: number): void {
    const before = this.#state
    count(this.#counters, outcome)
    if (permit.generation !== before.generation) {
      this.#counters.late++
      return
    }
    this.#move(Automaton.settle(this.#settings, before, permit, outcome, now - startedAt, now), now)
  }

  force(mode: ForcedMode, now: number): void {
    this.#move(Automaton.force(this.#settings, this.#state, mode, now), now)
  }

  reset(now: number): void {
    this.#move(Automaton.reset(this.#settings, this.#state, now), now)
  }

  #move(next: CircuitState, now: number): void {
    const before = this.#state
    this.#state = next
    if (next.generation !== before.generation) {
      this.#counters.transitions++
      this.#onTransition(transitionOf(this.#settings.name, this.key, before, next, now))
    }
  }
}
