/** What the directory knows of a policy: how to look at it, and what an operator may do to it. */
import { Effect } from "effect"
import type { Stream } from "effect"
import type { Bulkhead, BulkheadSnapshot } from "../Bulkhead.ts"
import type { Transition } from "../circuit/MemoryCircuit.ts"
import type { CircuitBreaker, CircuitSnapshot, KeyedCircuitBreaker, Observed } from "../CircuitBreaker.ts"
import { metrics } from "../Policy.ts"
import type { Any } from "../Policy.ts"
import type { RateLimitPolicy } from "../ratelimit/Policy.ts"
import type { Quota } from "../ratelimit/RateLimitErrors.ts"
import { RateLimiterStore } from "../RateLimiterStore.ts"
import type { RateLimiterStoreLost } from "../RateLimiterStore.ts"
import { warnings } from "./OrderRules.ts"
import type { OrderWarning } from "./OrderRules.ts"

/** A breaker with one circuit, or with one for each key. */
export interface CircuitEntry {
  readonly kind: "Circuit"
  readonly name: string
  /** The circuits that are known now. */
  readonly list: Effect.Effect<ReadonlyArray<CircuitSnapshot>>
  /** The circuit of a key; undefined for a key given to a breaker that has none, and for none given to one with keys. */
  readonly at: (key: string | undefined) => CircuitBreaker | undefined
  readonly transitions: Stream.Stream<Transition>
}

export interface RateLimitEntry {
  readonly kind: "RateLimit"
  readonly name: string
  readonly policy: RateLimitPolicy
  /** What is left for a key now; takes nothing. */
  readonly left: (key: string) => Effect.Effect<Quota, RateLimiterStoreLost>
  readonly forget: (key: string) => Effect.Effect<void, RateLimiterStoreLost>
}

export interface BulkheadEntry {
  readonly kind: "Bulkhead"
  readonly name: string
  readonly snapshot: Effect.Effect<BulkheadSnapshot>
}

/** A limit of concurrent calls that finds itself between its bounds. */
export interface AdaptiveLimitSnapshot {
  readonly name: string
  /** The limit now. */
  readonly limit: number
  readonly minimum: number
  readonly maximum: number
  readonly running: number
}

export interface AdaptiveLimitEntry {
  readonly kind: "AdaptiveLimit"
  readonly name: string
  readonly snapshot: Effect.Effect<AdaptiveLimitSnapshot>
}

/** A composed policy, in words. */
export interface PolicyView {
  readonly name: string
  /** Its layers with their settings, the outermost first. */
  readonly text: string
  /** The metrics that it makes. */
  readonly metrics: ReadonlyArray<string>
  /** What is known to be wrong with the order of its layers. */
  readonly warnings: ReadonlyArray<OrderWarning>
}

export interface PolicyEntry {
  readonly kind: "Policy"
  readonly name: string
  readonly view: PolicyView
}

export type DirectoryEntry = CircuitEntry | RateLimitEntry | BulkheadEntry | AdaptiveLimitEntry | PolicyEntry

export const circuit = (breaker: CircuitBreaker & Observed): CircuitEntry => ({
  kind: "Circuit",
  name: breaker.name,
  list: Effect.map(breaker.snapshot, (snapshot) => [snapshot]),
  at: (key) => key === undefined ? breaker : undefined,
  transitions: breaker.transitions
})

/** An operator may hold the circuit of a key that had no call yet: it is then made. */
export const keyedCircuit = (breaker: KeyedCircuitBreaker): CircuitEntry => ({
  kind: "Circuit",
  name: breaker.name,
  list: breaker.list,
  at: (key) => key === undefined ? undefined : breaker.at(key),
  transitions: breaker.transitions
})

/** A limit as it is counted in the store of the context. */
export const rateLimit = (policy: RateLimitPolicy): Effect.Effect<RateLimitEntry, never, RateLimiterStore> =>
  RateLimiterStore.useSync((store) => ({
    kind: "RateLimit",
    name: policy.name,
    policy,
    left: (key) =>
      Effect.map(store.inspect([{ policy, key }]), ([left]) => ({
        policy: policy.name,
        quota: policy.capacity,
        windowMillis: policy.refillMillis,
        remaining: left?.remaining ?? policy.capacity,
        resetMillis: left?.resetMillis ?? 0
      })),
    forget: (key) => store.forget(policy, key)
  }))

export const bulkhead = (bulkhead: Bulkhead): BulkheadEntry => ({
  kind: "Bulkhead",
  name: bulkhead.name,
  snapshot: Effect.sync(() => bulkhead.snapshot)
})

export const adaptiveLimit = (
  limit: { readonly name: string; readonly snapshot: AdaptiveLimitSnapshot }
): AdaptiveLimitEntry => ({
  kind: "AdaptiveLimit",
  name: limit.name,
  snapshot: Effect.sync(() => limit.snapshot)
})

/** A policy in words is the same for as long as it lives. */
export const policy = (name: string, policy: Any): PolicyEntry => ({
  kind: "Policy",
  name,
  view: { name, text: policy.toString(), metrics: metrics(policy), warnings: warnings(policy) }
})
