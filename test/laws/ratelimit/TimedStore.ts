/** Stores without the rest of the limiter: operations at times that the test tells. */
import { Context, Effect, Layer } from "effect"
import type { Decision, Left } from "../../../src/resilience/ratelimit/Decision.ts"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import type { Demand, Outcome, Settlement } from "../../../src/resilience/RateLimiterStore.ts"
import { Player } from "./Player.ts"

/** An empty store. Operations are done in the order in which they are started, whatever they wait for. */
export interface TimedStore {
  /** One call after the other. */
  readonly take: (calls: ReadonlyArray<ReadonlyArray<Demand>>, now: number) => Effect.Effect<ReadonlyArray<Outcome>>
  readonly settle: (settlements: ReadonlyArray<Settlement>, now: number) => Effect.Effect<void>
  readonly inspect: (
    keys: ReadonlyArray<Pick<Demand, "policy" | "key">>,
    now: number
  ) => Effect.Effect<ReadonlyArray<Left>>
  readonly forget: (policy: RateLimitPolicy, key: string) => Effect.Effect<void>
}

export class TimedStores extends Context.Service<TimedStores, {
  /** A store that forgets keys when their time has come, or one that keeps them for ever, if it can. */
  readonly open: (options: { readonly forgets: boolean }) => Effect.Effect<TimedStore>
}>()("maas/test/laws/ratelimit/TimedStore/TimedStores") {}

export const memory = Layer.succeed(TimedStores, {
  open: () =>
    Effect.sync(() => {
      const store = new MemoryStore(1_000_000)
      return {
        take: (calls, now) => Effect.sync(() => calls.map((demands) => store.take(demands, now))),
        settle: (settlements, now) => Effect.sync(() => store.settle(settlements, now)),
        inspect: (keys, now) => Effect.sync(() => store.inspect(keys, now)),
        forget: (policy, key) => Effect.sync(() => store.forget(policy, key))
      }
    })
})

const decisionOf = (outcome: Outcome | undefined): Decision => {
  const decision = outcome?._tag === "Taken" ? outcome.grants[0] : outcome?.left[0]
  if (outcome === undefined || decision === undefined) return { _tag: "Impossible", capacity: 0 }
  return outcome._tag === "Taken"
    ? { ...decision, _tag: "Admitted", at: 0, owed: 0 }
    : { ...decision, _tag: "Refused", retryAfterMillis: outcome.retryAfterMillis }
}

/** Plays calls on a new store each time. A cost above the capacity never gets as far as a store. */
export const player = Layer.effect(
  Player,
  Effect.map(TimedStores, ({ open }) =>
    Player.of({
      play: (calls) =>
        Effect.flatMap(open({ forgets: true }), (store) =>
          Effect.forEach(calls, ({ at, cost, policy }): Effect.Effect<Decision> =>
            cost > policy.capacity
              ? Effect.succeed({ _tag: "Impossible", capacity: policy.capacity })
              : Effect.map(store.take([[{ policy, key: "k", cost: Cost.make(cost) }]], at), ([outcome]) =>
                decisionOf(outcome)), { concurrency: "unbounded" }))
    }))
)
