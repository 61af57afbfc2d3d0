/**
 * Policies composed into one value: a list of layers around a call, the outermost first. The value knows its types, so a
 * rejection that nobody handles stays in the error type of the call and a handled error leaves it; and it can say what
 * it is made of, which metrics it makes and which orders of its layers are known to be wrong (see `policy/OrderRules`).
 *
 * ```ts
 * const policy = Layers.deadline("10 seconds").pipe(
 *   Policy.around(Layers.retry(retry)),
 *   Policy.around(Layers.circuit(breaker)),
 *   Policy.around(Layers.timeout("2 seconds"))
 * )
 * // Effect<Answer, Broken> becomes Effect<Answer, Broken | DeadlineExceeded | CircuitOpen | TimedOut>
 * const safe = call.pipe(Policy.apply(policy))
 * ```
 *
 * A policy holds no state of its own: applied to two calls, both share the circuits, places and limits of its layers.
 */
import { Effect, Pipeable } from "effect"
import type { Types } from "effect"
import { dual } from "effect/Function"

/** What a layer does, and what the rules about orders must know of it. Times are milliseconds. */
export type Role =
  | { readonly kind: "Deadline" | "Timeout"; readonly millis: number }
  | { readonly kind: "Retry"; readonly attempts: number }
  /** A limit on what callers ask for counts requests, a limit on what a dependency is asked for counts attempts. */
  | { readonly kind: "RateLimit"; readonly counts: "requests" | "attempts"; readonly waits: boolean }
  | { readonly kind: "AdaptiveLimit" | "Bulkhead"; readonly queue: number }
  | {
    readonly kind:
      | "Cache"
      | "Circuit"
      | "Fallback"
      | "FaultInjection"
      | "Hedge"
      | "Measure"
      | "RetryBudget"
      | "Custom"
  }

export type Kind = Role["kind"]

/** The errors left of `E` once `Handled` are gone. */
export type Remaining<E, Handled> = [Handled] extends [never] ? E : Exclude<E, Handled>

/** A layer without its types. */
export interface Step {
  readonly role: Role
  /** In words, with its settings: `bulkhead "runtime" 32 (+100)`. Best a getter, as calls have no need of it. */
  readonly text: string
  /** The names of the metrics it makes. */
  readonly metrics: ReadonlyArray<string>
  // A method, whose parameter TypeScript compares both ways: it is only given what `around` and `apply` have checked.
  wrap(self: Effect.Effect<unknown, unknown, unknown>): Effect.Effect<unknown, unknown, unknown>
}

const TypeId = "~maas/resilience/Policy"

/** What a policy can be put around: something whose errors are within `Sees` and whose values are within `Takes`. */
export interface Accepts<in Sees, in Takes> {
  readonly [TypeId]: {
    readonly sees: Types.Contravariant<Sees>
    readonly takes: Types.Contravariant<Takes>
  }
}

/**
 * Makes `Effect<A | Value, Remaining<E, Handled> | Added, R | Requires>` of `Effect<A, E, R>`, for every `E` within `Sees`
 * and `A` within `Takes`.
 */
export interface Policy<
  out Added = never,
  in Handled = never,
  out Requires = never,
  out Value = never,
  in Sees = unknown,
  in Takes = unknown
> extends Accepts<Sees, Takes>, Pipeable.Pipeable {
  readonly [TypeId]: {
    readonly added: Types.Covariant<Added>
    readonly handled: Types.Contravariant<Handled>
    readonly requires: Types.Covariant<Requires>
    readonly value: Types.Covariant<Value>
    readonly sees: Types.Contravariant<Sees>
    readonly takes: Types.Contravariant<Takes>
  }
  /** The outermost first. */
  readonly steps: ReadonlyArray<Step>
  /** In words, the outermost layer first. */
  readonly toString: () => string
}

/** Any policy, where only what it says of itself matters. */
export type Any = Policy<unknown, never, unknown, unknown, never, never>

const anything = (): void => undefined
const nothing = (impossible: never): never => impossible

const variance = {
  added: nothing,
  handled: anything,
  requires: nothing,
  value: nothing,
  sees: anything,
  takes: anything
}

class Composed extends Pipeable.Class {
  readonly [TypeId] = variance
  readonly steps: ReadonlyArray<Step>

  constructor(steps: ReadonlyArray<Step>) {
    super()
    this.steps = steps
  }

  override toString() {
    return this.steps.length === 0 ? "no policy" : this.steps.map(({ text }) => text).join(" → ")
  }
}

/** No policy: the call as it is. */
export const empty: Policy = new Composed([])

/** A layer that can join any policy. */
export interface Layer<Added, Handled, Requires, Value, Sees, Takes> extends Omit<Step, "wrap"> {
  readonly wrap: <A extends Takes, E extends Sees, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A | Value, Remaining<E, Handled> | Added, R | Requires>
}

/**
 * A policy of one layer. The layers of this library are in `policy/Layers`; any other function of an effect can be one:
 * `layer<Refused>({ … })` names the errors that it adds, the further type arguments what else it changes.
 */
export const layer = <
  Added = never,
  Handled = never,
  Requires = never,
  Value = never,
  Sees = unknown,
  Takes = unknown
>(
  layer: Layer<Added, Handled, Requires, Value, Sees, Takes>
): Policy<Added, Handled, Requires, Value, Sees, Takes> => new Composed([layer])

/**
 * One policy around another: `outer.pipe(around(inner))` or `around(outer, inner)`. The outer one sees what the inner
 * one lets out, the inner one's own rejections among it. Associative, with `empty` as its identity.
 */
export const around: {
  <AddedI, HandledI, RequiresI, ValueI, SeesI, TakesI>(
    inner: Policy<AddedI, HandledI, RequiresI, ValueI, SeesI, TakesI>
  ): <AddedO, HandledO, RequiresO, ValueO, SeesO, TakesO>(
    outer: Policy<AddedO, HandledO, RequiresO, ValueO, SeesO, TakesO> & Accepts<NoInfer<AddedI>, NoInfer<ValueI>>
  ) => Policy<
    Remaining<AddedI, HandledO> | AddedO,
    HandledI | HandledO,
    RequiresI | RequiresO,
    ValueI | ValueO,
    SeesI & (SeesO | HandledI),
    TakesI & TakesO
  >
  <AddedO, HandledO, RequiresO, ValueO, SeesO, TakesO, AddedI, HandledI, RequiresI, ValueI, SeesI, TakesI>(
    outer: Policy<AddedO, HandledO, RequiresO, ValueO, SeesO, TakesO> & Accepts<NoInfer<AddedI>, NoInfer<ValueI>>,
    inner: Policy<AddedI, HandledI, RequiresI, ValueI, SeesI, TakesI>
  ): Policy<
    Remaining<AddedI, HandledO> | AddedO,
    HandledI | HandledO,
    RequiresI | RequiresO,
    ValueI | ValueO,
    SeesI & (SeesO | HandledI),
    TakesI & TakesO
  >
} = dual(2, (outer: Any, inner: Any): Policy => new Composed([...outer.steps, ...inner.steps]))

// What `around` has made sure of step by step can't be followed through a list of steps: this signature states it.
function run<A, E, R, Added, Handled, Requires, Value>(
  self: Effect.Effect<A, E, R>,
  policy: Policy<Added, Handled, Requires, Value, NoInfer<E>, NoInfer<A>>
): Effect.Effect<A | Value, Remaining<E, Handled> | Added, R | Requires>
function run(self: Effect.Effect<unknown, unknown, unknown>, { steps }: Any): Effect.Effect<unknown, unknown, unknown> {
  return steps.reduceRight((inner, step) => step.wrap(inner), self)
}

/** Puts a policy around a call. */
export const apply: {
  <Added, Handled, Requires, Value, Sees, Takes>(
    policy: Policy<Added, Handled, Requires, Value, Sees, Takes>
  ): <A extends Takes, E extends Sees, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<A | Value, Remaining<E, Handled> | Added, R | Requires>
  <A, E, R, Added, Handled, Requires, Value>(
    self: Effect.Effect<A, E, R>,
    policy: Policy<Added, Handled, Requires, Value, NoInfer<E>, NoInfer<A>>
  ): Effect.Effect<A | Value, Remaining<E, Handled> | Added, R | Requires>
} = dual(2, run)

/** The names of the metrics that a policy makes. */
export const metrics = ({ steps }: Any): ReadonlyArray<string> =>
  [...new Set(steps.flatMap(({ metrics }) => metrics))].toSorted()
