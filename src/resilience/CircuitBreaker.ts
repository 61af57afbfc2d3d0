/**
 * A circuit breaker: calls to something that fails are refused at once for a while, so that it can recover and callers
 * don't wait in vain; then a few probes find out whether it has.
 *
 * The state lives in this process; `SharedCircuitBreaker` has it in a store for all replicas together. `make` guards one
 * thing, `makeKeyed` many alike (hosts, models, tenants), each with a circuit of its own.
 */
import { Clock, Duration, Effect, PubSub, Stream } from "effect"
import type { Fiber, Scope } from "effect"
import { dual } from "effect/Function"
import * as CallWindow from "./circuit/CallWindow.ts"
import * as CircuitCounters from "./circuit/CircuitCounters.ts"
import { classifyByDefault, run } from "./circuit/CircuitRun.ts"
import type { CircuitOpen, Classify } from "./circuit/CircuitRun.ts"
import { Circuits } from "./circuit/Circuits.ts"
import { fromOptions } from "./circuit/CircuitSettings.ts"
import type { CircuitOptions, CircuitSettings } from "./circuit/CircuitSettings.ts"
import { nameOf } from "./circuit/CircuitState.ts"
import type { ForcedMode, StateName } from "./circuit/CircuitState.ts"
import { MemoryCircuit } from "./circuit/MemoryCircuit.ts"
import type { Transition } from "./circuit/MemoryCircuit.ts"
import type { CircuitStoreLost } from "./CircuitStore.ts"
import { checked, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"

/** A circuit as operators see it. */
export interface CircuitSnapshot {
  readonly breaker: string
  readonly key: string | undefined
  readonly state: StateName
  readonly generation: number
  /** How long it has been in this state. */
  readonly sinceFor: Duration.Duration
  /** How long calls are still rejected, where that is known. */
  readonly retryAfter: Duration.Duration | undefined
  /** Calls that count now; all zero unless closed or held for metrics only. */
  readonly calls: CallWindow.Totals
}

/** What `protect` needs of a breaker; the state may live here or in a store (see `SharedCircuitBreaker`). */
export interface CircuitBreaker {
  readonly name: string
  readonly settings: CircuitSettings
  readonly run: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    classify: Classify<A, E>
  ) => Effect.Effect<A, E | CircuitOpen, R>
  readonly snapshot: Effect.Effect<CircuitSnapshot>
  /** Holds the circuit, until `reset` or another mode. */
  readonly force: (mode: ForcedMode) => Effect.Effect<void, CircuitStoreLost>
  /** Closes the circuit afresh, from whatever state. */
  readonly reset: Effect.Effect<void, CircuitStoreLost>
}

/** A breaker whose state lives here, and so is never lost. */
export interface LocalCircuit extends CircuitBreaker {
  readonly force: (mode: ForcedMode) => Effect.Effect<void>
  readonly reset: Effect.Effect<void>
}

export interface Observed {
  /**
   * Changes of state from now on. Each subscriber has a buffer of 256; one that falls further behind misses the oldest,
   * which it can tell by the generations.
   */
  readonly transitions: Stream.Stream<Transition>
}

export interface LocalCircuitBreaker extends LocalCircuit, Observed {}

export interface KeyedCircuitBreaker extends Observed {
  readonly name: string
  readonly settings: CircuitSettings
  /** The breaker of one key. Cheap; its circuit is made by the first call, and found again by each. */
  readonly at: (key: string) => CircuitBreaker
  /** All circuits that are known now. */
  readonly list: Effect.Effect<ReadonlyArray<CircuitSnapshot>>
}

/** A breaker with keys whose state lives here. */
export interface LocalKeyedCircuitBreaker extends KeyedCircuitBreaker {
  readonly at: (key: string) => LocalCircuit
}

export interface KeyedCircuitOptions extends CircuitOptions {
  /** Circuits kept at once, the least lately used leaving first. Default 10,000. */
  readonly maxKeys?: number | undefined
}

export interface ProtectOptions<A, E> {
  readonly classify?: Classify<A, E> | undefined
}

const transitionBuffer = 256

export const snapshotOf = (settings: CircuitSettings, circuit: MemoryCircuit, clock: Clock.Clock): CircuitSnapshot => {
  const { state } = circuit
  const now = circuit.now(clock)
  return {
    breaker: settings.name,
    key: circuit.key,
    state: nameOf(state),
    generation: state.generation,
    sinceFor: Duration.millis(now - state.since),
    retryAfter: state._tag === "Open" ? Duration.millis(Math.max(0, state.until - now)) : undefined,
    calls: state._tag === "Closed" || state._tag === "Forced"
      ? CallWindow.totals(state.window, now)
      : { calls: 0, failures: 0, slow: 0 }
  }
}

type Find = (fiber: Fiber.Fiber<unknown, unknown>) => MemoryCircuit

const handle = (settings: CircuitSettings, circuitNow: Find, circuitToSee: Find): LocalCircuit => {
  const change = (f: (circuit: MemoryCircuit, now: number) => void) =>
    Effect.withFiber((fiber) => {
      const circuit = circuitNow(fiber)
      f(circuit, circuit.now(fiber.getRef(Clock.Clock)))
      return Effect.void
    })
  return {
    name: settings.name,
    settings,
    run: (self, classify) => run(self, settings, circuitNow, classify),
    snapshot: Effect.withFiber((fiber) =>
      Effect.succeed(snapshotOf(settings, circuitToSee(fiber), fiber.getRef(Clock.Clock)))
    ),
    force: (mode) => change((circuit, now) => circuit.force(mode, now)),
    reset: change((circuit, now) => circuit.reset(now))
  }
}

/** A stream of transitions, and how one is put into it. */
export const makeTransitions = Effect.map(
  Effect.acquireRelease(PubSub.sliding<Transition>(transitionBuffer), PubSub.shutdown),
  (hub) => ({
    publish: (transition: Transition) => {
      PubSub.publishUnsafe(hub, transition)
    },
    transitions: Stream.fromPubSub(hub)
  })
)

/** A breaker with one circuit. Its metrics are shown for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*(options: CircuitOptions): Effect.fn.Return<LocalCircuitBreaker, InvalidSettings, Scope.Scope> {
    const settings = yield* fromOptions(options)
    const { publish, transitions } = yield* makeTransitions
    const counters = CircuitCounters.zero()
    const now = yield* Clock.currentTimeMillis
    const circuit = new MemoryCircuit(settings, undefined, counters, publish, now)
    yield* CircuitCounters.shown(settings.name, counters, (state) => nameOf(circuit.state) === state ? 1 : 0)
    return { ...handle(settings, () => circuit, () => circuit), transitions }
  }
)

/** Refuses a number of keys that makes no sense. */
export const checkMaxKeys = (name: string, maxKeys: number): Effect.Effect<number, InvalidSettings> =>
  checked(`The circuit breaker "${name}"`, maxKeys, [wholeNumber("maxKeys", maxKeys, 1, 10_000_000)])

/** A breaker with a circuit for each key, in bounded memory. */
export const makeKeyed = Effect.fnUntraced(
  function*(options: KeyedCircuitOptions): Effect.fn.Return<LocalKeyedCircuitBreaker, InvalidSettings, Scope.Scope> {
    const maxKeys = options.maxKeys ?? 10_000
    const settings = yield* fromOptions(options)
    yield* checkMaxKeys(options.name, maxKeys)
    const { publish, transitions } = yield* makeTransitions
    const counters = CircuitCounters.zero()
    const circuits = new Circuits(settings, counters, publish, maxKeys)
    yield* CircuitCounters.shown(settings.name, counters, (state) => circuits.countIn(state))
    return {
      name: settings.name,
      settings,
      at: (key) =>
        handle(
          settings,
          (fiber) => circuits.at(key, fiber.getRef(Clock.Clock)),
          (fiber) => circuits.peek(key, fiber.getRef(Clock.Clock))
        ),
      list: Effect.clockWith((clock) =>
        Effect.sync(() => Array.from(circuits.values(), (circuit) => snapshotOf(settings, circuit, clock)))
      ),
      transitions
    }
  }
)

/**
 * Runs an effect behind a breaker: `CircuitOpen` joins its errors, and while the circuit is open it does not run. See
 * `classifyByDefault` for what counts as a failure.
 */
export const protect: {
  <A = unknown, E = unknown>(
    breaker: CircuitBreaker,
    options?: ProtectOptions<A, E>
  ): <A2 extends A, E2 extends E, R>(self: Effect.Effect<A2, E2, R>) => Effect.Effect<A2, E2 | CircuitOpen, R>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    breaker: CircuitBreaker,
    options?: ProtectOptions<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    breaker: CircuitBreaker,
    options?: ProtectOptions<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R> => breaker.run(self, options?.classify ?? classifyByDefault)
)
