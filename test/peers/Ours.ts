import { Duration, Effect, Exit, Layer, ManagedRuntime, Metric, Result, Schedule, Scope } from "effect"
import * as Bulkhead from "../../src/resilience/Bulkhead.ts"
import type { CircuitOptions } from "../../src/resilience/circuit/CircuitSettings.ts"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.ts"
import * as Deadline from "../../src/resilience/Deadline.ts"
import type { Algorithm } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimitPolicy } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import { Cost } from "../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../src/resilience/RateLimiterStoreMemory.ts"
import { isRejection } from "../../src/resilience/Rejection.ts"
import * as Retry from "../../src/resilience/Retry.ts"
import * as RetryDelay from "../../src/resilience/RetryDelay.ts"
import * as Timeout from "../../src/resilience/Timeout.ts"
import type { MakeLimiter, Peer, RetryOptions } from "./Peer.ts"
import { effectOf } from "./RunEffect.ts"
import type { Guard, Run } from "./Work.ts"

const limiterOf = (algorithm: Algorithm): MakeLimiter => (limit, windowMillis) => {
  const policy = Result.getOrThrow(
    RateLimitPolicy.make({ name: "peers", limit, window: Duration.millis(windowMillis), algorithm })
  )
  const runtime = ManagedRuntime.make(
    RateLimiter.layer().pipe(
      Layer.provide(RateLimiterStoreMemory.layer({ sweepEvery: Duration.seconds(1) })),
      Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, new Map()))
    )
  )
  const keys = Metric.gauge("rate_limiter_keys", { description: "Keys held in memory" })
  return {
    decide: (key, cost) =>
      runtime.runPromise(
        RateLimiter.use(({ tryAcquire }) => tryAcquire({ policy, key, cost: Cost.make(cost, { disableChecks: true }) }))
          .pipe(Effect.match({
            onSuccess: (decision) => ({
              admitted: decision._tag === "Allowed",
              retryAfterMillis: decision._tag === "Denied" ? decision.retryAfterMillis : undefined,
              isImpossible: false
            }),
            onFailure: () => ({ admitted: false, retryAfterMillis: undefined, isImpossible: true })
          }))
      ),
    keysHeld: () => runtime.runSync(Metric.value(keys)).value,
    acquire: (key, signal) =>
      runtime.runPromise(
        RateLimiter.use(({ acquire }) => acquire({ policy, key }, { within: Duration.hours(1) })),
        { signal }
      ),
    dispose: () => runtime.dispose()
  }
}

/** What a policy makes of an effect. */
type Around = <E>(self: Effect.Effect<void, E>) => Effect.Effect<void, unknown>

const guardOf = (make: Effect.Effect<Around, unknown, Scope.Scope>, isRefusal = isRejection): Guard => {
  const scope = Scope.makeUnsafe()
  const around = Effect.runSync(Scope.provide(make, scope))
  return {
    call: (run: Run, signal) => Effect.runPromise(around(effectOf(run)), { signal }),
    isRefusal,
    dispose: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}

const breakerOf = (options: Omit<CircuitOptions, "name">): Guard =>
  guardOf(Effect.map(
    CircuitBreaker.make({ name: "peers", ...options }),
    (breaker): Around => (self) => CircuitBreaker.protect(self, breaker)
  ))

const retryOf = ({ attempts, deadlineMillis, delay }: RetryOptions): Guard =>
  guardOf(Effect.map(
    Retry.make<unknown>({
      name: "peers",
      retryable: () => true,
      call: Retry.safe,
      maxAttempts: attempts,
      schedule: delay._tag === "Constant"
        ? Schedule.spaced(delay.millis)
        : RetryDelay.decorrelatedJitter({ base: delay.base, cap: delay.cap })
    }),
    (policy): Around => (self) =>
      deadlineMillis === undefined
        ? Retry.retry(self, policy)
        : Deadline.within(Retry.retry(self, policy), deadlineMillis)
  ))

export const ours: Peer = {
  name: "ours",
  limiterLetsWait: true,
  buckets: { "token bucket": limiterOf("token-bucket"), "leaky bucket": limiterOf("leaky-bucket") },
  windows: { "fixed window": limiterOf("fixed-window"), "sliding window": limiterOf("sliding-window") },
  breaker: ({ failures, openMillis }) =>
    breakerOf({ trip: { _tag: "ConsecutiveFailures", failures }, openFor: openMillis, growth: 1 }),
  breakerCanGiveUp: true,
  windowedBreaker: ({ minimumCalls, share, windowMillis }) =>
    breakerOf({
      trip: {
        _tag: "Rates",
        window: { _tag: "Time", duration: windowMillis, buckets: 5 },
        minimumCalls,
        failureRate: share
      },
      openFor: Duration.days(1)
    }),
  bulkhead: (limit, queue) =>
    guardOf(Effect.map(
      Bulkhead.make({ name: "peers", limit, queue, maxWait: Duration.days(1) }),
      (bulkhead): Around => (self) => Bulkhead.withPlace(self, bulkhead)
    )),
  bulkheadHasQueue: true,
  timeout: (limits) =>
    guardOf(
      Effect.succeed((self) =>
        limits.reduce<Effect.Effect<void, unknown>>((self, limit) => Timeout.timeout(self, limit), self)
      )
    ),
  retry: retryOf
}
