import type { CircuitAnswer, CircuitStep, CircuitView } from "../CircuitStore.ts"
import * as Automaton from "./Automaton.ts"
import * as CallWindow from "./CallWindow.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import { nameOf } from "./CircuitState.ts"
import type { CircuitState } from "./CircuitState.ts"

/** Circuits looked at, least lately used first, for one that can go. */
const candidates = 16

const noCalls: CallWindow.Totals = { calls: 0, failures: 0, slow: 0 }

const viewOf = (state: CircuitState, now: number): CircuitView => {
  const counts = state._tag === "Closed" || state._tag === "Forced" ? CallWindow.totals(state.window, now) : noCalls
  return {
    state: nameOf(state),
    generation: state.generation,
    sinceMillis: now - state.since,
    openMillis: state._tag === "Open" ? Math.max(0, state.until - now) : undefined,
    calls: { calls: counts.calls, failures: counts.failures, slow: counts.slow }
  }
}

/** What is said of a circuit that is not known: it is closed, and has seen nothing. */
export const unknown: CircuitView = {
  state: "Closed",
  generation: 0,
  sinceMillis: 0,
  openMillis: undefined,
  calls: noCalls
}

interface Kept {
  readonly breaker: string
  readonly key: string | undefined
  readonly state: CircuitState
  readonly last: number
  readonly skew: number
}

const idOf = (breaker: string, key: string | undefined): string => JSON.stringify([breaker, key])

/** The circuits of a store in memory. Its first generations are taken from the clock, so that none comes twice. */
export class CircuitTable {
  readonly #capacity: number
  /** Least lately used first. */
  readonly #kept = new Map<string, Kept>()

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get size(): number {
    return this.#kept.size
  }

  keys(breaker: string): ReadonlyArray<string> {
    return Array.from(this.#kept.values()).flatMap((kept) =>
      kept.breaker === breaker && kept.key !== undefined ? [kept.key] : []
    )
  }

  /** `instant` is the time in milliseconds; where it steps back, the circuits' clock stands still. */
  step({ event, key, settings }: CircuitStep, instant: number): CircuitAnswer {
    const id = idOf(settings.name, key)
    const found = this.#kept.get(id)
    if (event._tag === "Look") {
      const after = found === undefined ? unknown : viewOf(found.state, instant + found.skew)
      return { decision: { _tag: "Looked" }, before: after, after }
    }
    const { last, skew, state } = found ?? this.#made(settings, instant)
    const behind = instant < last ? skew + last - instant : skew
    const now = instant + behind
    const next = Automaton.step(settings, state, event, now)
    this.#kept.delete(id)
    if (this.#kept.size >= this.#capacity) this.#evict()
    this.#kept.set(id, { breaker: settings.name, key, state: next.state, last: instant, skew: behind })
    return {
      decision: next.decision,
      before: { state: nameOf(state), generation: state.generation },
      after: viewOf(next.state, now)
    }
  }

  #made(settings: CircuitSettings, instant: number): Pick<Kept, "state" | "last" | "skew"> {
    return { state: Automaton.initial(settings, instant, Math.max(1, instant * 1_000)), last: instant, skew: 0 }
  }

  /** A circuit that an operator holds stays while another of those used least lately can go. */
  #evict(): void {
    let victim: string | undefined
    let seen = 0
    for (const [id, { state }] of this.#kept) {
      victim ??= id
      if (state._tag !== "Forced") {
        victim = id
        break
      }
      if (++seen >= candidates) break
    }
    if (victim !== undefined) this.#kept.delete(victim)
  }
}
