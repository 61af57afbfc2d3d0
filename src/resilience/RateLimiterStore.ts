/** Where limits are counted: the port of the rate limiter. */
import { Context, Schema } from "effect"
import type { Effect } from "effect"
import type { Admitted, Left, Refused } from "./ratelimit/Decision.ts"
import type { RateLimitPolicy } from "./ratelimit/Policy.ts"

/** What a call takes: a whole number of units, at least one. */
export const Cost = Schema.Int.check(Schema.isGreaterThan(0)).pipe(Schema.brand("Cost"))
export type Cost = typeof Cost.Type

/** `cost` of `policy` for `key`, whose state no other key and no other policy's name shares. */
export interface Demand {
  readonly policy: RateLimitPolicy
  readonly key: string
  readonly cost: Cost
}

/** All of the demands are taken, or none is. Lists follow the order of the demands. */
export type Outcome =
  | { readonly _tag: "Taken"; readonly grants: ReadonlyArray<Admitted> }
  | {
    readonly _tag: "NotTaken"
    readonly left: ReadonlyArray<Left>
    /** The longest wait among the demands: the shortest after which all can be taken. */
    readonly retryAfterMillis: number
    /** The demand that must wait so long. */
    readonly refusedBy: number
  }

export interface Take {
  (demands: ReadonlyArray<Demand>): Effect.Effect<Outcome, RateLimiterStoreLost>
  /**
   * What the effect would come to for one demand alone, at once. Only stores that never wait and are never lost offer
   * it: there the effect costs more than the decision. It is part of `take`, so that who wraps `take` leaves it behind.
   */
  readonly atOnce?: ((policy: RateLimitPolicy, key: string, cost: Cost) => Admitted | Refused) | undefined
}

/** Sets what was taken for `demand` to what it really cost; zero gives all of it back. */
export interface Settlement {
  readonly demand: Demand
  readonly grant: Admitted
  readonly actual: Cost | 0
}

/** The store gave no usable answer within its own time limit. What was asked may or may not have been done. */
export class RateLimiterStoreLost extends Schema.TaggedError<RateLimiterStoreLost>()("RateLimiterStoreLost", {
  cause: Schema.optionalKey(Schema.Defect())
}) {}

/**
 * Runs the pure core atomically: concurrent decisions are as if made one after the other, on the store's own clock and
 * never the caller's. Implementations bound how long they take and fail with `RateLimiterStoreLost` after that. A refusal
 * changes nothing. Each operation is one round trip. Demands of one call name each policy and key at most once, and none
 * is above its policy's capacity.
 */
export class RateLimiterStore extends Context.Service<RateLimiterStore, {
  readonly take: Take
  readonly settle: (settlements: ReadonlyArray<Settlement>) => Effect.Effect<void, RateLimiterStoreLost>
  readonly inspect: (
    demands: ReadonlyArray<Pick<Demand, "policy" | "key">>
  ) => Effect.Effect<ReadonlyArray<Left>, RateLimiterStoreLost>
  /** Forgets what was taken: an operator's decision. */
  readonly forget: (policy: RateLimitPolicy, key: string) => Effect.Effect<void, RateLimiterStoreLost>
}>()("maas/resilience/RateLimiterStore") {}
