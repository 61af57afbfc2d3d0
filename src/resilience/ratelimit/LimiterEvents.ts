/** What a limiter tells of itself: counters that are always kept, events for whoever listens. */
import { Effect, Metric, PubSub, Stream } from "effect"
import type { Cost, Demand, Settlement } from "../RateLimiterStore.ts"
import type { Admitted } from "./Decision.ts"
import * as Instruments from "./Instruments.ts"
import type { RateLimitPolicy } from "./Policy.ts"
import type { RefusalReason } from "./RateLimitErrors.ts"
import type { EnforcedBy } from "./StoreGuard.ts"

/**
 * Every call ends in exactly one of `Allowed`, `Denied`, `Impossible` and `Interrupted`. `Allowed` carries the demands
 * that were counted and what each was granted, and `Settled` what each was set to later: enough to count again.
 */
export type RateLimiterEvent =
  | {
    readonly _tag: "Allowed"
    readonly by: EnforcedBy
    readonly demands: ReadonlyArray<Demand>
    readonly grants: ReadonlyArray<Admitted>
  }
  | {
    readonly _tag: "Denied"
    readonly demands: ReadonlyArray<Demand>
    readonly reason: RefusalReason
    readonly policy: string
    readonly retryAfterMillis: number
  }
  | { readonly _tag: "Impossible"; readonly demands: ReadonlyArray<Demand>; readonly policy: string }
  | { readonly _tag: "Interrupted"; readonly demands: ReadonlyArray<Demand> }
  | { readonly _tag: "Settled"; readonly by: EnforcedBy; readonly settlements: ReadonlyArray<Settlement> }
  | { readonly _tag: "SettlementLost"; readonly settlements: ReadonlyArray<Settlement> }
  | { readonly _tag: "StoreLost" }
  | { readonly _tag: "StoreFound" }

/** Counts in the series of `key`, which is made when there is none. */
const countIn = <K>(series: Map<K, Series>, key: K, make: () => Series): void => {
  const one = series.get(key) ?? make()
  one.count++
  series.set(key, one)
}

type Ending = "allowed" | "denied" | "impossible" | "interrupted"
type Series = { count: number }
type PolicySeries = Readonly<Record<Ending, Series>> & {
  readonly policy: string
  readonly refused: Map<RefusalReason, Series>
  readonly unshared: Map<EnforcedBy, Series>
}

const decisions = (attributes: Readonly<Record<string, string>>) =>
  Metric.counter("rate_limiter_decisions_total", {
    description: "Calls by policy and how they ended: allowed, denied, impossible, interrupted",
    attributes,
    incremental: true
  })
const refusals = (attributes: Readonly<Record<string, string>>) =>
  Metric.counter("rate_limiter_refusals_total", {
    description: "Denied calls by the policy that had to be waited for longest, and why",
    attributes,
    incremental: true
  })
const unshared = (attributes: Readonly<Record<string, string>>) =>
  Metric.counter("rate_limiter_unshared_total", {
    description: "Allowed calls that were not counted by the store, by policy and who counted: local or nothing",
    attributes,
    incremental: true
  })

const eventsLost = () =>
  Metric.counter("rate_limiter_events_lost_total", {
    description: "Events that a listener was too far behind to be given",
    incremental: true
  })

/** Events that a listener is more than `buffer` behind with are not kept for any listener, and counted. */
export const make = Effect.fnUntraced(function*(buffer: number) {
  const pubsub = yield* Effect.acquireRelease(PubSub.dropping<RateLimiterEvent>(buffer), PubSub.shutdown)
  let listeners = 0
  const lost = (yield* Instruments.counters(eventsLost))({})
  const publish = (event: RateLimiterEvent): void => {
    if (listeners > 0 && !PubSub.publishUnsafe(pubsub, event)) lost.count++
  }

  const decisionSeries = yield* Instruments.counters(decisions)
  const refusalSeries = yield* Instruments.counters(refusals)
  const unsharedSeries = yield* Instruments.counters(unshared)
  const byPolicy = new Map<string, PolicySeries>()
  let latest: PolicySeries | undefined
  const seriesOf = (policy: string): PolicySeries => {
    if (latest?.policy === policy) return latest
    let series = byPolicy.get(policy)
    if (series === undefined) {
      series = {
        policy,
        allowed: decisionSeries({ policy, decision: "allowed" }),
        denied: decisionSeries({ policy, decision: "denied" }),
        impossible: decisionSeries({ policy, decision: "impossible" }),
        interrupted: decisionSeries({ policy, decision: "interrupted" }),
        refused: new Map(),
        unshared: new Map()
      }
      byPolicy.set(policy, series)
    }
    return latest = series
  }
  const end = (demands: ReadonlyArray<Demand>, ending: Ending): void => {
    for (const { policy } of demands) seriesOf(policy.name)[ending].count++
  }

  return {
    publish,
    /** `allowed` for one demand alone: the lists of the event are made only if somebody listens. */
    allowedOne: (policy: RateLimitPolicy, key: string, cost: Cost, grant: Admitted) => {
      seriesOf(policy.name).allowed.count++
      if (listeners > 0) {
        publish({ _tag: "Allowed", by: "store", demands: [{ policy, key, cost }], grants: [grant] })
      }
    },
    allowed: (
      demands: ReadonlyArray<Demand>,
      by: EnforcedBy,
      counted: ReadonlyArray<Demand>,
      grants: ReadonlyArray<Admitted>
    ) => {
      end(demands, "allowed")
      if (by !== "store") {
        for (const { policy: { name: policy } } of demands) {
          countIn(seriesOf(policy).unshared, by, () => unsharedSeries({ policy, by }))
        }
      }
      if (listeners > 0) publish({ _tag: "Allowed", by, demands: counted, grants })
    },
    denied: (
      demands: ReadonlyArray<Demand>,
      reason: RefusalReason,
      policy: string,
      retryAfterMillis: number
    ) => {
      end(demands, "denied")
      countIn(seriesOf(policy).refused, reason, () => refusalSeries({ policy, reason }))
      if (listeners > 0) publish({ _tag: "Denied", demands, reason, policy, retryAfterMillis })
    },
    impossible: (demands: ReadonlyArray<Demand>, policy: string) => {
      end(demands, "impossible")
      publish({ _tag: "Impossible", demands, policy })
    },
    interrupted: (demands: ReadonlyArray<Demand>) => {
      end(demands, "interrupted")
      publish({ _tag: "Interrupted", demands })
    },
    events: Stream.unwrap(Effect.gen(function*() {
      const subscription = yield* PubSub.subscribe(pubsub)
      yield* Effect.acquireRelease(Effect.sync(() => listeners++), () => Effect.sync(() => listeners--))
      return Stream.fromSubscription(subscription)
    }))
  }
})

export type LimiterEvents = Effect.Success<ReturnType<typeof make>>
