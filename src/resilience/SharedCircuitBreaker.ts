/**
 * Circuit breakers whose state is that of all replicas together, in a `CircuitStore`: what one replica has found out the
 * others need not, and a circuit that is half-open lets N probes through, not N for each replica.
 *
 * Each call asks the store before and tells it after: two round trips more. While the store is away every replica has a
 * circuit of its own, which begins as the shared one was last seen; the metric `circuit_breaker_store_up` is 0 meanwhile,
 * and one call in `retryStoreAfter` finds out whether the store is back.
 */
import { Clock, Duration, Effect } from "effect"
import type { Scope } from "effect"
import { LeastRecentlyUsed } from "./cache/LeastRecentlyUsed.ts"
import * as Automaton from "./circuit/Automaton.ts"
import * as CircuitCounters from "./circuit/CircuitCounters.ts"
import { outcomeOf, rejected, run } from "./circuit/CircuitRun.ts"
import type { CircuitOpen, Classify } from "./circuit/CircuitRun.ts"
import { Circuits } from "./circuit/Circuits.ts"
import { fromOptions } from "./circuit/CircuitSettings.ts"
import type { CircuitOptions, CircuitSettings } from "./circuit/CircuitSettings.ts"
import type { CircuitState, Outcome, Permit, StateName } from "./circuit/CircuitState.ts"
import type { Transition } from "./circuit/MemoryCircuit.ts"
import { checkMaxKeys, makeTransitions, snapshotOf } from "./CircuitBreaker.ts"
import type {
  CircuitBreaker,
  CircuitSnapshot,
  KeyedCircuitBreaker,
  KeyedCircuitOptions,
  Observed
} from "./CircuitBreaker.ts"
import { CircuitStore } from "./CircuitStore.ts"
import type { CircuitAnswer, CircuitStep, CircuitStoreLost, CircuitView } from "./CircuitStore.ts"
import { checked, timeSpan } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { monotonicMillis } from "./MonotonicTime.ts"
import { show } from "./PulledMetrics.ts"

export interface SharedOptions {
  /** How long a store that failed is left alone before it is asked again. 1 second when not given. */
  readonly retryStoreAfter?: Duration.Input | undefined
}

export interface SharedCircuitBreaker extends CircuitBreaker, Observed {}

/** The circuit as the store told of it last, and when that was here. */
interface Seen {
  readonly view: CircuitView
  /** Milliseconds since the epoch. */
  readonly atMillis: number
}

type Event = CircuitStep["event"]

/** One circuit of a breaker stands under a name that no key can have. */
const idOf = (key: string | undefined): string => key === undefined ? "" : `:${key}`
const keyOf = (id: string | undefined): string | undefined => id === undefined || id === "" ? undefined : id.slice(1)

class SharedCircuits {
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
  #isAsked(clock: Clock.Clock): boolean {
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
  #step(key: string | undefined, event: Event): Effect.Effect<CircuitAnswer, CircuitStoreLost> {
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

  run<A, E, R>(
    self: Effect.Effect<A, E, R>,
    key: string | undefined,
    classify: Classify<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R> {
    // Asking can't be interrupted, so that a permit which was given is always settled.
    return Effect.uninterruptibleMask((restore) =>
      Effect.clockWith((clock): Effect.Effect<A, E | CircuitOpen, R> => {
        const here = restore(this.#runHere(self, key, classify))
        if (!this.#isAsked(clock)) return here
        return Effect.matchEffect(this.#step(key, { _tag: "Admit" }), {
          onFailure: () => here,
          onSuccess: ({ after, decision }): Effect.Effect<A, E | CircuitOpen, R> => {
            if (decision._tag === "Rejected") {
              this.counters.rejected++
              return rejected(this.settings.name, key, decision.retryAfterMillis)
            }
            if (decision._tag !== "Admitted" || after.state === "Disabled") return restore(self)
            this.counters.permits++
            return this.#settled(restore(self), key, decision.permit, classify)
          }
        })
      })
    )
  }

  #settled<A, E, R>(
    self: Effect.Effect<A, E, R>,
    key: string | undefined,
    permit: Permit,
    classify: Classify<A, E>
  ): Effect.Effect<A, E, R> {
    return Effect.clockWith((clock) => {
      const began = monotonicMillis(clock)
      return Effect.onExitPrimitive(self, (exit) => {
        // A classification that throws must not keep the permit; its defect then ends the call.
        let outcome: Outcome = "Ignored"
        try {
          outcome = outcomeOf(exit, classify)
        } catch (defect) {
          return Effect.andThen(this.#settle(key, permit, outcome, 0), Effect.die(defect))
        }
        return this.#settle(key, permit, outcome, monotonicMillis(clock) - began)
      })
    })
  }

  #settle(key: string | undefined, permit: Permit, outcome: Outcome, tookMillis: number): Effect.Effect<void> {
    CircuitCounters.count(this.counters, outcome)
    return Effect.matchEffect(this.#step(key, { _tag: "Settle", permit, outcome, tookMillis }), {
      onSuccess: ({ decision }) =>
        Effect.sync(() => {
          if (decision._tag === "Late") this.counters.late++
        }),
      onFailure: () =>
        Effect.sync(() => {
          this.unshared++
        })
    })
  }

  #runHere<A, E, R>(
    self: Effect.Effect<A, E, R>,
    key: string | undefined,
    classify: Classify<A, E>
  ): Effect.Effect<A, E | CircuitOpen, R> {
    return run(self, this.settings, (fiber) => this.#local.at(idOf(key), fiber.getRef(Clock.Clock)), classify, key)
  }

  /** The circuit as it is; as it is here while the store is away. */
  snapshot(key: string | undefined): Effect.Effect<CircuitSnapshot> {
    return Effect.clockWith((clock) => {
      const here = Effect.sync(() => ({
        ...snapshotOf(this.settings, this.#local.peek(idOf(key), clock), clock),
        key
      }))
      return this.#isAsked(clock)
        ? Effect.matchEffect(this.#step(key, { _tag: "Look" }), {
          onSuccess: ({ after }) => Effect.succeed(this.#shown(key, after)),
          onFailure: () => here
        })
        : here
    })
  }

  #shown(key: string | undefined, view: CircuitView): CircuitSnapshot {
    return {
      breaker: this.settings.name,
      key,
      state: view.state,
      generation: view.generation,
      sinceFor: Duration.millis(view.sinceMillis),
      retryAfter: view.openMillis === undefined ? undefined : Duration.millis(view.openMillis),
      calls: view.calls
    }
  }

  /** The circuits that the store knows; while it is away those that were seen here. */
  get list(): Effect.Effect<ReadonlyArray<CircuitSnapshot>> {
    return Effect.clockWith((clock) => {
      const here = Effect.suspend(() =>
        Effect.forEach(
          Array.from(this.#seen.keys(), keyOf),
          (key) => this.snapshot(key)
        )
      )
      return this.#isAsked(clock)
        ? Effect.matchEffect(this.#store.keys(this.settings.name), {
          onSuccess: (keys) =>
            Effect.map(
              Effect.forEach(keys, (key) => this.snapshot(key), { concurrency: 64 }),
              (circuits) => circuits.filter(({ generation }) => generation > 0)
            ),
          onFailure: () => Effect.andThen(Effect.sync(() => this.#lose(clock)), here)
        })
        : here
    })
  }

  handle(key: string | undefined): CircuitBreaker {
    const { settings } = this
    return {
      name: settings.name,
      settings,
      run: (self, classify) => this.run(self, key, classify),
      snapshot: this.snapshot(key),
      force: (mode) => Effect.asVoid(this.#step(key, { _tag: "Force", mode })),
      reset: Effect.asVoid(this.#step(key, { _tag: "Reset" }))
    }
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
    ({ circuits, transitions }) => ({ ...circuits.handle(undefined), transitions })
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
      at: (key) => circuits.handle(key),
      list: circuits.list,
      transitions
    }
  }
)
