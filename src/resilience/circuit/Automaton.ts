/**
 * The circuit breaker as a pure automaton `(state, event, now) → (state, decision)`. Times are milliseconds of a clock
 * that does not run backwards; a store sees to that, and to running one step at a time.
 *
 * The legal edges: Closed → Open (thresholds), Open → HalfOpen (the first call after the open time), HalfOpen → Closed
 * (enough probes succeeded), HalfOpen → Open (a probe failed or was slow), any → Forced, any → Closed (reset).
 */
import * as CallWindow from "./CallWindow.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import type {
  Admission,
  CircuitEvent,
  CircuitState,
  Closed,
  Forced,
  ForcedMode,
  HalfOpen,
  Open,
  Outcome,
  Permit,
  Step
} from "./CircuitState.ts"

const emptyWindow = ({ window }: CircuitSettings): CallWindow.CallWindow => {
  switch (window._tag) {
    case "Streak":
      return CallWindow.streak
    case "CountWindow":
      return CallWindow.countWindow(window.size)
    case "TimeWindow":
      return CallWindow.timeWindow(window.bucketMillis, window.buckets)
  }
}

const closed = (settings: CircuitSettings, generation: number, openings: number, now: number): Closed => ({
  _tag: "Closed",
  generation,
  since: now,
  permit: { generation, probe: 0 },
  openings,
  window: emptyWindow(settings)
})

/** A circuit that has seen nothing. */
export const initial = (settings: CircuitSettings, now: number, generation = 1): Closed =>
  closed(settings, generation, 0, now)

/** The open time of the n-th opening in a row: `openFor × growthⁿ⁻¹`, at most its cap. */
export const openMillis = (settings: CircuitSettings, openings: number): number =>
  Math.min(settings.maxOpenMillis, Math.ceil(settings.openMillis * settings.growth ** (openings - 1)))

const open = (settings: CircuitSettings, generation: number, openings: number, now: number): Open => ({
  _tag: "Open",
  generation,
  since: now,
  until: now + openMillis(settings, openings),
  openings
})

const probe = (settings: CircuitSettings, state: HalfOpen, now: number): Step<Admission> => {
  const running = state.leases.filter((lease) => lease.until > now)
  if (running.length >= settings.probes) {
    const first = running.reduce((least, lease) => Math.min(least, lease.until), Infinity)
    return { state, decision: { _tag: "Rejected", retryAfterMillis: first - now } }
  }
  return {
    state: {
      ...state,
      leases: [...running, { probe: state.nextProbe, until: now + settings.leaseMillis }],
      nextProbe: state.nextProbe + 1
    },
    decision: { _tag: "Admitted", permit: { generation: state.generation, probe: state.nextProbe } }
  }
}

/** Asks whether a call may run now. */
export const admit = (settings: CircuitSettings, state: CircuitState, now: number): Step<Admission> => {
  switch (state._tag) {
    case "Closed":
      return { state, decision: { _tag: "Admitted", permit: state.permit } }
    case "Open":
      return now < state.until
        ? { state, decision: { _tag: "Rejected", retryAfterMillis: state.until - now } }
        : probe(settings, {
          _tag: "HalfOpen",
          generation: state.generation + 1,
          since: now,
          openings: state.openings,
          leases: [],
          nextProbe: 1,
          successes: 0
        }, now)
    case "HalfOpen":
      return probe(settings, state, now)
    case "Forced":
      return state.mode === "ForcedOpen"
        ? { state, decision: { _tag: "Rejected", retryAfterMillis: undefined } }
        : { state, decision: { _tag: "Admitted", permit: state.permit } }
  }
}

/** Whether the window's calls open the circuit at `now`. */
export const trips = (settings: CircuitSettings, window: CallWindow.CallWindow, now: number): boolean => {
  if (window._tag === "Streak") return window.failures >= settings.failuresInARow
  const { calls, failures, slow } = CallWindow.totals(window, now)
  // Division rounds correctly, so 7 of 100 is exactly the share 0.07; a product would not be.
  return calls >= settings.minimumCalls &&
    (failures / calls >= settings.failureRate || slow / calls >= settings.slowRate)
}

const settleClosed = (
  settings: CircuitSettings,
  state: Closed,
  failed: boolean,
  slow: boolean,
  now: number
): CircuitState => {
  const window = CallWindow.record(state.window, failed, slow, now)
  if (trips(settings, window, now)) {
    const openings = now - state.since >= settings.stableMillis ? 0 : state.openings
    return open(settings, state.generation + 1, openings + 1, now)
  }
  return window === state.window ? state : {
    _tag: "Closed",
    generation: state.generation,
    since: state.since,
    permit: state.permit,
    openings: state.openings,
    window
  }
}

const settleProbe = (
  settings: CircuitSettings,
  state: HalfOpen,
  permit: Permit,
  outcome: Outcome,
  slow: boolean,
  now: number
): CircuitState => {
  // A probe that outlived its lease has no place to give back, but what it found out is still true.
  const leases = state.leases.filter((lease) => lease.probe !== permit.probe)
  if (outcome === "Ignored" || outcome === "Interrupted") return { ...state, leases }
  if (outcome === "Failure" || slow) return open(settings, state.generation + 1, state.openings + 1, now)
  const successes = state.successes + 1
  return successes >= settings.successes
    ? closed(settings, state.generation + 1, state.openings, now)
    : { ...state, leases, successes }
}

const settled = { _tag: "Settled" } as const
const late = { _tag: "Late" } as const
const changed = { _tag: "Changed" } as const

/** The next state once a call ended after `tookMillis`; the same state for a permit of another generation. */
export const settle = (
  settings: CircuitSettings,
  state: CircuitState,
  permit: Permit,
  outcome: Outcome,
  tookMillis: number,
  now: number
): CircuitState => {
  if (permit.generation !== state.generation) return state
  const slow = tookMillis >= settings.slowAfterMillis
  switch (state._tag) {
    case "Closed":
      return outcome === "Ignored" || outcome === "Interrupted"
        ? state
        : settleClosed(settings, state, outcome === "Failure", slow, now)
    case "HalfOpen":
      return settleProbe(settings, state, permit, outcome, slow, now)
    case "Open":
      return state
    case "Forced":
      return state.mode !== "MetricsOnly" || outcome === "Ignored" || outcome === "Interrupted"
        ? state
        : { ...state, window: CallWindow.record(state.window, outcome === "Failure", slow, now) }
  }
}

/** An operator holds the circuit. */
export const force = (settings: CircuitSettings, state: CircuitState, mode: ForcedMode, now: number): Forced => ({
  _tag: "Forced",
  mode,
  generation: state.generation + 1,
  since: now,
  permit: { generation: state.generation + 1, probe: 0 },
  window: emptyWindow(settings)
})

/** A fresh closed generation. */
export const reset = (settings: CircuitSettings, state: CircuitState, now: number): Closed =>
  closed(settings, state.generation + 1, 0, now)

/** One step of the automaton. */
export const step = (settings: CircuitSettings, state: CircuitState, event: CircuitEvent, now: number): Step => {
  switch (event._tag) {
    case "Admit":
      return admit(settings, state, now)
    case "Settle":
      return {
        state: settle(settings, state, event.permit, event.outcome, event.tookMillis, now),
        decision: event.permit.generation === state.generation ? settled : late
      }
    case "Force":
      return { state: force(settings, state, event.mode, now), decision: changed }
    case "Reset":
      return { state: reset(settings, state, now), decision: changed }
  }
}
