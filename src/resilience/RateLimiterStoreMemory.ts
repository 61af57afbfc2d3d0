/** Limits counted in this process's memory. */
import { Clock, Duration, Effect, Layer, Metric } from "effect"
import * as Instruments from "./ratelimit/Instruments.ts"
import { MemoryStore } from "./ratelimit/MemoryStore.ts"
import { RateLimiterStore } from "./RateLimiterStore.ts"

export interface MemoryOptions {
  /** The most keys held for one policy; further ones share states. 1,000,000 when not given. */
  readonly maxKeys?: number | undefined
  /** How often memory of forgotten keys is given back while no call does so. 1 minute when not given. */
  readonly sweepEvery?: Duration.Input | undefined
}

const onClock = <A>(run: (now: number) => A): Effect.Effect<A> =>
  Clock.clockWith((clock) => Effect.succeed(run(Math.floor(clock.currentTimeMillisUnsafe()))))

/** Its sweeper lives as long as the scope. */
export const make = Effect.fnUntraced(function*(options: MemoryOptions = {}) {
  const store = new MemoryStore(options.maxKeys ?? 1_000_000)
  yield* Effect.sleep(options.sweepEvery ?? Duration.minutes(1)).pipe(
    Effect.andThen(onClock((now) => store.sweep(now))),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Instruments.gauge(keysHeld, () => store.size)
  return RateLimiterStore.of({
    take: (demands) => onClock((now) => store.take(demands, now)),
    settle: (settlements) => onClock((now) => store.settle(settlements, now)),
    inspect: (demands) => onClock((now) => store.inspect(demands, now)),
    forget: (policy, key) => Effect.sync(() => store.forget(policy, key))
  })
})

const keysHeld = Metric.gauge("rate_limiter_keys", { description: "Keys held in memory" })

export const layer = (options?: MemoryOptions): Layer.Layer<RateLimiterStore> =>
  Layer.effect(RateLimiterStore, make(options))
