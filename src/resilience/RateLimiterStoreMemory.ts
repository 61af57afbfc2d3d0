/** Limits counted in this process's memory. */
import { Clock, Duration, Effect, Layer, Metric } from "effect"
import * as Instruments from "./ratelimit/Instruments.ts"
import { MemoryStore } from "./ratelimit/MemoryStore.ts"
import type { RateLimitPolicy } from "./ratelimit/Policy.ts"
import { RateLimiterStore } from "./RateLimiterStore.ts"
import type { Cost, Demand } from "./RateLimiterStore.ts"

export interface MemoryOptions {
  /** The most keys held for one policy; further ones share states. 1,000,000 when not given. */
  readonly maxKeys?: number | undefined
  /** How often memory of forgotten keys is given back while no call does so. 1 minute when not given. */
  readonly sweepEvery?: Duration.Input | undefined
}

/** It counts on the clock it is made with. Its sweeper lives as long as the scope. */
export const make = Effect.fnUntraced(function*(options: MemoryOptions = {}) {
  const clock = yield* Clock.Clock
  const now = () => Math.floor(clock.currentTimeMillisUnsafe())
  const store = new MemoryStore(options.maxKeys ?? 1_000_000)
  yield* Effect.sleep(options.sweepEvery ?? Duration.minutes(1)).pipe(
    Effect.andThen(Effect.sync(() => store.sweep(now()))),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Instruments.gauge(keysHeld, () => store.size)
  return RateLimiterStore.of({
    take: Object.assign(
      (demands: ReadonlyArray<Demand>) => Effect.sync(() => store.take(demands, now())),
      { atOnce: (policy: RateLimitPolicy, key: string, cost: Cost) => store.takeOne(policy, key, cost, now()) }
    ),
    settle: (settlements) => Effect.sync(() => store.settle(settlements, now())),
    inspect: (demands) => Effect.sync(() => store.inspect(demands, now())),
    forget: (policy, key) => Effect.sync(() => store.forget(policy, key))
  })
})

const keysHeld = Metric.gauge("rate_limiter_keys", { description: "Keys held in memory" })

export const layer = (options?: MemoryOptions): Layer.Layer<RateLimiterStore> =>
  Layer.effect(RateLimiterStore, make(options))
