/**
 * The policies of this process under their names, for an operator: what state they are in, and the few things one may
 * do to them by hand. A policy is listed for as long as the scope in which it was registered lives.
 *
 * ```ts
 * const breaker = yield* CircuitBreaker.makeKeyed({ name: "runtime", trip: { _tag: "ConsecutiveFailures", failures: 5 } })
 * const directory = yield* PolicyDirectory
 * yield* directory.register(DirectoryEntry.keyedCircuit(breaker))
 * // elsewhere
 * yield* directory.force({ breaker: "runtime", key: "iris@1" }, "ForcedOpen")
 * ```
 */
import { Context, Effect, Layer, PubSub, Schema, Stream } from "effect"
import type { Scope } from "effect"
import type { BulkheadSnapshot } from "./Bulkhead.ts"
import type { ForcedMode } from "./circuit/CircuitState.ts"
import type { Transition } from "./circuit/MemoryCircuit.ts"
import type { CircuitBreaker, CircuitSnapshot } from "./CircuitBreaker.ts"
import type { CircuitStoreLost } from "./CircuitStore.ts"
import type { AdaptiveLimitSnapshot, DirectoryEntry, PolicyView, RateLimitEntry } from "./policy/DirectoryEntry.ts"
import type { RateLimitPolicy } from "./ratelimit/Policy.ts"
import type { Quota } from "./ratelimit/RateLimitErrors.ts"
import type { RateLimiterStoreLost } from "./RateLimiterStore.ts"

/** A circuit by name. The key is undefined where the breaker has one circuit only. */
export interface CircuitAddress {
  readonly breaker: string
  readonly key?: string | undefined
}

/** No such breaker is registered; or it has keys and none was given, or the other way round. */
export class CircuitNotFound extends Schema.TaggedError<CircuitNotFound>()("CircuitNotFound", {
  breaker: Schema.String,
  key: Schema.UndefinedOr(Schema.String)
}) {
  override get message() {
    return this.key === undefined
      ? `There is no circuit ${this.breaker}`
      : `There is no circuit ${this.breaker} (${this.key})`
  }
}

/** No rate limit of this name is registered. */
export class RateLimitNotFound extends Schema.TaggedError<RateLimitNotFound>()("RateLimitNotFound", {
  policy: Schema.String
}) {
  override get message() {
    return `There is no rate limit ${this.policy}`
  }
}

/** Another policy of this kind is registered under the name: an operator could not tell them apart. */
export class PolicyNameTaken extends Schema.TaggedError<PolicyNameTaken>()("PolicyNameTaken", {
  kind: Schema.String,
  name: Schema.String
}) {
  override get message() {
    return `Another ${this.kind} is already called ${this.name}`
  }
}

export class PolicyDirectory extends Context.Service<PolicyDirectory, {
  readonly register: (entry: DirectoryEntry) => Effect.Effect<void, PolicyNameTaken, Scope.Scope>

  /** All circuits that are known now, by the name of the breaker and the key. */
  readonly circuits: Effect.Effect<ReadonlyArray<CircuitSnapshot>>
  readonly circuit: (address: CircuitAddress) => Effect.Effect<CircuitSnapshot, CircuitNotFound>
  /** Holds a circuit until it is reset, and answers with what it is then. */
  readonly force: (
    address: CircuitAddress,
    mode: ForcedMode
  ) => Effect.Effect<CircuitSnapshot, CircuitNotFound | CircuitStoreLost>
  /** Closes a circuit afresh, from whatever state. */
  readonly reset: (address: CircuitAddress) => Effect.Effect<CircuitSnapshot, CircuitNotFound | CircuitStoreLost>
  /**
   * Changes of state of all circuits, from now on. A subscriber that falls more than 1,024 behind misses the oldest,
   * which it can tell by the generations.
   */
  readonly transitions: Stream.Stream<Transition>

  readonly rateLimits: Effect.Effect<ReadonlyArray<RateLimitPolicy>>
  /** What a limit has left for a key; takes nothing. */
  readonly quota: (policy: string, key: string) => Effect.Effect<Quota, RateLimitNotFound | RateLimiterStoreLost>
  /** Forgets what a key took of a limit. */
  readonly forget: (policy: string, key: string) => Effect.Effect<void, RateLimitNotFound | RateLimiterStoreLost>

  readonly bulkheads: Effect.Effect<ReadonlyArray<BulkheadSnapshot>>
  readonly adaptiveLimits: Effect.Effect<ReadonlyArray<AdaptiveLimitSnapshot>>
  /** The composed policies, in words. */
  readonly policies: Effect.Effect<ReadonlyArray<PolicyView>>
}>()("maas/resilience/PolicyDirectory") {
  static readonly layer: Layer.Layer<PolicyDirectory> = Layer.effect(PolicyDirectory, Effect.suspend(() => make))
}

const transitionBuffer = 1_024

type Kind = DirectoryEntry["kind"]

const isOf = <K extends Kind>(kind: K) => (entry: DirectoryEntry): entry is Extract<DirectoryEntry, { kind: K }> =>
  entry.kind === kind

const alphabetic = (one = "", other = ""): number => one < other ? -1 : one > other ? 1 : 0

const make = Effect.gen(function*() {
  const entries = new Map<string, DirectoryEntry>()
  const hub = yield* Effect.acquireRelease(PubSub.sliding<Transition>(transitionBuffer), PubSub.shutdown)

  const register = Effect.fnUntraced(
    function*(entry: DirectoryEntry): Effect.fn.Return<void, PolicyNameTaken, Scope.Scope> {
      const { kind, name } = entry
      const id = `${kind}/${name}`
      yield* Effect.acquireRelease(
        Effect.suspend(() => {
          if (entries.has(id)) return new PolicyNameTaken({ kind, name })
          entries.set(id, entry)
          return Effect.void
        }),
        () => Effect.sync(() => entries.delete(id))
      )
      if (kind !== "Circuit") return
      const forward = Stream.runForEach(entry.transitions, (transition) => PubSub.publish(hub, transition))
      // It listens before this returns, so that no change from then on is missed.
      yield* Effect.forkScoped(forward, { startImmediately: true })
    }
  )

  const all = <K extends Kind>(kind: K): ReadonlyArray<Extract<DirectoryEntry, { kind: K }>> =>
    [...entries.values()].filter(isOf(kind)).toSorted((one, other) => alphabetic(one.name, other.name))

  /** Looks at every policy of a kind, in the order of their names. */
  const each = <K extends Kind, A>(
    kind: K,
    look: (entry: Extract<DirectoryEntry, { kind: K }>) => Effect.Effect<A>
  ): Effect.Effect<Array<A>> => Effect.suspend(() => Effect.forEach(all(kind), look))

  const find = <K extends Kind>(kind: K, name: string) => all(kind).find((entry) => entry.name === name)

  const withCircuit = <E>(
    { breaker, key }: CircuitAddress,
    act: (circuit: CircuitBreaker) => Effect.Effect<void, E>
  ): Effect.Effect<CircuitSnapshot, CircuitNotFound | E> =>
    Effect.suspend((): Effect.Effect<CircuitSnapshot, CircuitNotFound | E> => {
      const circuit = find("Circuit", breaker)?.at(key)
      return circuit === undefined
        ? new CircuitNotFound({ breaker, key })
        : Effect.andThen(act(circuit), circuit.snapshot)
    })

  const withRateLimit = <A>(
    policy: string,
    act: (limit: RateLimitEntry) => Effect.Effect<A, RateLimiterStoreLost>
  ): Effect.Effect<A, RateLimitNotFound | RateLimiterStoreLost> =>
    Effect.suspend((): Effect.Effect<A, RateLimitNotFound | RateLimiterStoreLost> => {
      const limit = find("RateLimit", policy)
      return limit === undefined ? new RateLimitNotFound({ policy }) : act(limit)
    })

  return PolicyDirectory.of({
    register,
    circuits: Effect.map(
      each("Circuit", ({ list }) => list),
      (lists) => lists.flatMap((circuits) => circuits.toSorted((one, other) => alphabetic(one.key, other.key)))
    ),
    circuit: (address) => withCircuit(address, () => Effect.void),
    force: (address, mode) => withCircuit(address, (circuit) => circuit.force(mode)),
    reset: (address) => withCircuit(address, (circuit) => circuit.reset),
    transitions: Stream.fromPubSub(hub),
    rateLimits: each("RateLimit", ({ policy }) => Effect.succeed(policy)),
    quota: (policy, key) => withRateLimit(policy, (limit) => limit.left(key)),
    forget: (policy, key) => withRateLimit(policy, (limit) => limit.forget(key)),
    bulkheads: each("Bulkhead", ({ snapshot }) => snapshot),
    adaptiveLimits: each("AdaptiveLimit", ({ snapshot }) => snapshot),
    policies: each("Policy", ({ view }) => Effect.succeed(view))
  })
})
