/** What a limiter tells of itself: counters that are always kept, events for whoever listens. */
import { Effect, Metric, PubSub, Stream } from "effect"
import type { Demand, Settlement } from "../RateLimiterStore.ts"
import type { Admitted } from "./Decision.ts"
import * as Instruments from "./Instruments.ts"
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

type Ending = "allowed" | "denied" | "impossible" | "interrupted"
type Series = { count: number }

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
  const endings = new Map<string, Record<Ending, Series>>()
  const counted = new Map<string, Series>()
  const seriesOf = (name: string, make: () => Series): Series => {
    const series = counted.get(name) ?? make()
    counted.set(name, series)
    return series
  }
  const end = (demands: ReadonlyArray<Demand>, ending: Ending): void => {
    for (const { policy: { name: policy } } of demands) {
      let series = endings.get(policy)
      if (series === undefined) {
        series = {
          allowed: decisionSeries({ policy, decision: "allowed" }),
          denied: decisionSeries({ policy, decision: "denied" }),
          impossible: decisionSeries({ policy, decision: "impossible" }),
          interrupted: decisionSeries({ policy, decision: "interrupted" })
        }
        endings.set(policy, series)
      }
      series[ending].count++
    }
  }

  return {
    publish,
    allowed: (
      demands: ReadonlyArray<Demand>,
      by: EnforcedBy,
      counted: ReadonlyArray<Demand>,
      grants: ReadonlyArray<Admitted>
    ) => {
      end(demands, "allowed")
      if (by !== "store") {
        for (const { policy: { name: policy } } of demands) {
          seriesOf(`${by}/${policy}`, () => unsharedSeries({ policy, by })).count++
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
      seriesOf(`refused/${reason}/${policy}`, () => refusalSeries({ policy, reason })).count++
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
