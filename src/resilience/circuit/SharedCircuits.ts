/** What a replica knows of circuits in a store: how each was seen last, and the circuit of its own that stands in for it. */
import { Clock, Effect } from "effect"
import { LeastRecentlyUsed } from "../cache/LeastRecentlyUsed.ts"
import type { CircuitAnswer, CircuitStep, CircuitStore, CircuitStoreLost, CircuitView } from "../CircuitStore.ts"
import { monotonicMillis } from "../MonotonicTime.ts"
import * as Automaton from "./Automaton.ts"
import * as CircuitCounters from "./CircuitCounters.ts"
import { Circuits } from "./Circuits.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import type { CircuitState, StateName } from "./CircuitState.ts"
import type { MemoryCircuit, Transition } from "./MemoryCircuit.ts"

/** The circuit as the store told of it last, and when that was here. */
interface Seen {
  readonly view: CircuitView
  /** Milliseconds since the epoch. */
  readonly atMillis: number
}

/** One circuit of a breaker stands under a name that no key can have. */
const idOf = (key: string | undefined): string => key === undefined ? "" : `:${key}`
const keyOf = (id: string | undefined): string | undefined => id === undefined || id === "" ? undefined : id.slice(1)

export class SharedCircuits {
  readonly settings: CircuitSettings
  readonly counters = CircuitCounters.zero()
  /** Outcomes that the store was not told. */
  unshared = 0
  readonly #store: CircuitStore["Service"]
  readonly #publish: (transition: Transition) => void
  readonly #retryMillis: number
  readonly #seen: LeastRecentlyUsed<Seen>
  readonly #local: Circuits
  #lostUntil: number | undefined

  constructor(
    settings: CircuitSettings,
    store: CircuitStore["Service"],
    publish: (transition: Transition) => void,
    retryMillis: number,
    maxKeys: number
  ) {
    this.settings = settings
    this.#store = store
    this.#publish = publish
    this.#retryMillis = retryMillis
    this.#seen = new LeastRecentlyUsed(maxKeys)
    const publishLocal = (transition: Transition) => publish({ ...transition, key: keyOf(transition.key) })
    this.#local = new Circuits(settings, this.counters, publishLocal, maxKeys, (id, now) => this.#begin(id, now))
  }

  get isLost(): boolean {
    return this.#lostUntil !== undefined
  }

  countIn(state: StateName): number {
    if (this.isLost) return this.#local.countIn(state)
    let count = 0
    for (const { view } of this.#seen.values()) if (view.state === state) count++
    return count
  }

  /** The state in which a local circuit takes over. */
  #begin(id: string, now: number): CircuitState {
    const { settings } = this
    const fresh = Automaton.initial(settings, now)
    const seen = this.#seen.peek(id)
    if (seen === undefined) return fresh
    const { openMillis = 0, state } = seen.view
    switch (state) {
      case "Closed":
        return fresh
      case "Open":
      case "HalfOpen": {
        // A clock that was set back keeps nothing open for longer than it was to be.
        const left = openMillis - Math.max(0, now - seen.atMillis)
        return {
          _tag: "Open",
          generation: fresh.generation + 1,
          since: now,
          until: now + Math.max(0, left),
          openings: 1
        }
      }
      default:
        return Automaton.force(settings, fresh, state, now)
    }
  }

  /** Whether the store is to be asked now; one call at a time finds out whether it is back. */
  isAsked(clock: Clock.Clock): boolean {
    if (this.#lostUntil === undefined) return true
    const now = monotonicMillis(clock)
    if (now < this.#lostUntil) return false
    this.#lostUntil = now + this.#retryMillis
    return true
  }

  #lose(clock: Clock.Clock): void {
    // An outage begins with what is known of the shared circuits, not with what was found out in the one before.
    if (this.#lostUntil === undefined) this.#local.clear()
    this.#lostUntil = monotonicMillis(clock) + this.#retryMillis
  }

  #take(key: string | undefined, { after, before }: CircuitAnswer, clock: Clock.Clock): void {
    this.#lostUntil = undefined
    this.#seen.set(idOf(key), { view: after, atMillis: clock.currentTimeMillisUnsafe() })
    if (before.generation === after.generation) return
    this.counters.transitions++
    this.#publish({
      breaker: this.settings.name,
      key,
      from: before.state,
      to: after.state,
      generation: after.generation,
      at: clock.currentTimeMillisUnsafe(),
      openMillis: after.openMillis,
      isShared: true
    })
  }

  /** A step in the store, bounded by the store's own time limit. */
  step(key: string | undefined, event: CircuitStep["event"]): Effect.Effect<CircuitAnswer, CircuitStoreLost> {
    return Effect.clockWith((clock) =>
      Effect.matchEffect(this.#store.step({ settings: this.settings, key, event }), {
        onSuccess: (answer) => {
          this.#take(key, answer, clock)
          return Effect.succeed(answer)
        },
        onFailure: (lost) => {
          this.#lose(clock)
          return Effect.fail(lost)
        }
      })
    )
  }

  /** The keys of the circuits that the store knows. */
  get keys(): Effect.Effect<ReadonlyArray<string>, CircuitStoreLost> {
    return Effect.clockWith((clock) =>
      Effect.tapError(this.#store.keys(this.settings.name), () => Effect.sync(() => this.#lose(clock)))
    )
  }

  /** The keys of the circuits that were seen here. */
  get keysSeen(): ReadonlyArray<string | undefined> {
    return Array.from(this.#seen.keys(), keyOf)
  }

  /** The circuit of this replica, which is made when there is none. */
  here(key: string | undefined, clock: Clock.Clock): MemoryCircuit {
    return this.#local.at(idOf(key), clock)
  }

  /** The same to look at: one that is not known stays unknown. */
  peekHere(key: string | undefined, clock: Clock.Clock): MemoryCircuit {
    return this.#local.peek(idOf(key), clock)
  }
}
