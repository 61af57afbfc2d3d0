import { Duration, Effect, Layer, ManagedRuntime } from "effect"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as RateLimiter from "effect/persistence/RateLimiter"
import { nothing } from "./Peer.ts"
import type { MakeLimiter, Peer } from "./Peer.ts"
import { effectOf } from "./RunEffect.ts"

/** The maps that are made while `build` runs: the only way to see what a store holds in a closure. */
const mapsMadeBy = <A>(build: () => A): readonly [A, ReadonlyArray<Map<unknown, unknown>>] => {
  const RealMap = globalThis.Map
  const made: Array<Map<unknown, unknown>> = []
  class SeenMap<K, V> extends RealMap<K, V> {
    constructor(entries?: Iterable<readonly [K, V]> | null) {
      super(entries)
      made.push(this)
    }
  }
  globalThis.Map = SeenMap
  try {
    return [build(), made]
  } finally {
    globalThis.Map = RealMap
  }
}

const limiterOf = (algorithm: "fixed-window" | "token-bucket"): MakeLimiter => (limit, windowMillis) => {
  const runtime = ManagedRuntime.make(RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreMemory)))
  const [, maps] = mapsMadeBy(() => runtime.runSync(Effect.asVoid(RateLimiter.RateLimiter)))
  const options = { algorithm, limit, window: Duration.millis(windowMillis) }
  return {
    decide: (key, tokens) =>
      runtime.runPromise(
        RateLimiter.RateLimiter.use(({ consume }) => consume({ ...options, key, tokens })).pipe(Effect.match({
          onSuccess: () => ({ admitted: true, retryAfterMillis: undefined, isImpossible: false }),
          onFailure: ({ reason }) => ({
            admitted: false,
            retryAfterMillis: "retryAfter" in reason ? Duration.toMillis(reason.retryAfter) : undefined,
            isImpossible: false
          })
        }))
      ),
    keysHeld: () =>
      maps.reduce((held, map) => held + [...map.keys()].filter((key) => /^key \d/.test(String(key))).length, 0),
    acquire: (key, signal) =>
      runtime.runPromise(
        RateLimiter.RateLimiter.use((limiter) => RateLimiter.sleep(limiter, { ...options, key })),
        { signal }
      ),
    dispose: () => runtime.dispose()
  }
}

export const effects: Peer = {
  ...nothing,
  name: "Effect",
  limiterLetsWait: true,
  buckets: { "token bucket": limiterOf("token-bucket") },
  windows: { "fixed window": limiterOf("fixed-window") },
  breaker: ({ failures, openMillis }) => {
    const runtime = ManagedRuntime.make(
      CircuitBreaker.layer({
        tripPolicy: CircuitBreaker.consecutive(failures),
        openDuration: Duration.millis(openMillis)
      }).pipe(Layer.provide(CircuitBreaker.layerStoreMemory()))
    )
    return {
      call: (run, signal) =>
        runtime.runPromise(
          CircuitBreaker.CircuitBreaker.use(({ execute }) => execute(effectOf(run), { key: "peers" })),
          { signal }
        ),
      isRefusal: (error) => error instanceof CircuitBreaker.CircuitBreakerError,
      dispose: () => runtime.dispose()
    }
  },
  breakerCanGiveUp: true
}
