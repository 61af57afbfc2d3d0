/**
 * Limits how much passes in how long, by any number of policies at once. What is counted where is the business of the
 * `RateLimiterStore`; while it is away each policy says what holds instead.
 */
import { Context, Duration, Effect, Layer, Metric } from "effect"
import type { Exit, Stream } from "effect"
import { dual } from "effect/Function"
import * as Instruments from "./ratelimit/Instruments.ts"
import type { Allowed, Denied, Limit, Limits, Permit } from "./ratelimit/Limiter.ts"
import { errorOf, Limiter } from "./ratelimit/Limiter.ts"
import * as LimiterEvents from "./ratelimit/LimiterEvents.ts"
import type { RateLimiterEvent } from "./ratelimit/LimiterEvents.ts"
import { MemoryStore } from "./ratelimit/MemoryStore.ts"
import type { RateLimitPolicy } from "./ratelimit/Policy.ts"
import type { ImpossibleCost, RateLimited } from "./ratelimit/RateLimitErrors.ts"
import { StoreGuard } from "./ratelimit/StoreGuard.ts"
import { WaitingLines } from "./ratelimit/WaitingLine.ts"
import type { Cost } from "./RateLimiterStore.ts"
import { RateLimiterStore } from "./RateLimiterStore.ts"
import type { RateLimiterStoreLost } from "./RateLimiterStore.ts"

export interface RateLimiterOptions {
  /** The most that wait for the same limits; the next is refused at once. 1,000 when not given. */
  readonly maxWaitersInLine?: number | undefined
  /** The most that wait for any limits. 10,000 when not given. */
  readonly maxWaiters?: number | undefined
  /** How long a store that failed is left alone before it is asked again. 1 second when not given. */
  readonly retryStoreAfter?: Duration.Input | undefined
  /** The most keys of a policy that are counted here while the store is away. 100,000 when not given. */
  readonly maxLocalKeys?: number | undefined
  /** How far a listener may fall behind before further events are lost. 1,024 when not given. */
  readonly eventBuffer?: number | undefined
}

export class RateLimiter extends Context.Service<RateLimiter, {
  /** Takes all of the limits, or none; never waits, not even behind those that do. */
  readonly tryAcquire: (limits: Limits) => Effect.Effect<Allowed | Denied, ImpossibleCost>
  /**
   * Waits, in order of arrival among those in this process that wait for the same limits, and no longer than `within`.
   * Fails at once when the wait would be longer. An interrupted waiter gives its place and what it took back.
   */
  readonly acquire: (
    limits: Limits,
    options: { readonly within: Duration.Input }
  ) => Effect.Effect<Allowed, RateLimited | ImpossibleCost>
  /** Runs `body` once the limits are taken, with the means to settle what it really cost. */
  readonly use: <A, E, R>(
    limits: Limits,
    options: { readonly within: Duration.Input },
    body: (permit: Permit) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | RateLimited | ImpossibleCost, R>
  /** Forgets what was taken from a policy by a key. */
  readonly forget: (policy: RateLimitPolicy, key: string) => Effect.Effect<void, RateLimiterStoreLost>
  /** From the time of subscription on; no call waits for a listener. */
  readonly events: Stream.Stream<RateLimiterEvent>
}>()("maas/resilience/RateLimiter") {
  static readonly layer = (
    options: RateLimiterOptions = {}
  ): Layer.Layer<RateLimiter, never, RateLimiterStore> => Layer.effect(RateLimiter, make(options))
}

const make = Effect.fnUntraced(function*(options: RateLimiterOptions) {
  const store = yield* RateLimiterStore
  const events = yield* LimiterEvents.make(options.eventBuffer ?? 1_024)
  const lines = new WaitingLines({
    maxLength: options.maxWaitersInLine ?? 1_000,
    maxSize: options.maxWaiters ?? 10_000
  })
  const guard = new StoreGuard({
    store,
    local: new MemoryStore(options.maxLocalKeys ?? 100_000),
    retryMillis: Duration.toMillis(Duration.fromInputUnsafe(options.retryStoreAfter ?? Duration.seconds(1))),
    onChange: (isLost) => events.publish({ _tag: isLost ? "StoreLost" : "StoreFound" })
  })
  yield* Instruments.gauge(waiting, () => lines.size)
  yield* Instruments.gauge(storeUp, () => guard.isLost ? 0 : 1)
  const limiter = new Limiter(guard, lines, events)
  return RateLimiter.of({
    tryAcquire: (limits) => limiter.tryAcquire(limits),
    acquire: (limits, { within }) =>
      limiter.use(limits, within, ({ by, quotas }) => Effect.succeed<Allowed>({ _tag: "Allowed", by, quotas })),
    use: (limits, { within }, body) => limiter.use(limits, within, body),
    forget: store.forget,
    events: events.events
  })
})

const waiting = Metric.gauge("rate_limiter_waiting", { description: "Calls that wait for a limit" })
const storeUp = Metric.gauge("rate_limiter_store_up", { description: "0 while limits are counted without the store" })

export interface LimitOptions {
  readonly limits: Limits
  /** How long to wait in line; not at all when not given. */
  readonly within?: Duration.Input | undefined
}

/** Runs the effect if its limits allow, and fails with `RateLimited` if they do not. */
export const withLimit: {
  (
    options: LimitOptions
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RateLimited | ImpossibleCost, R | RateLimiter>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: LimitOptions
  ): Effect.Effect<A, E | RateLimited | ImpossibleCost, R | RateLimiter>
} = dual(2, <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { limits, within }: LimitOptions
): Effect.Effect<A, E | RateLimited | ImpossibleCost, R | RateLimiter> =>
  RateLimiter.use((limiter): Effect.Effect<A, E | RateLimited | ImpossibleCost, R> =>
    within === undefined
      ? Effect.flatMap(
        limiter.tryAcquire(limits),
        (decision): Effect.Effect<A, E | RateLimited, R> =>
          decision._tag === "Allowed" ? self : Effect.fail(errorOf(decision))
      )
      : limiter.use(limits, { within }, () => self)
  ))

export interface ReservationOptions<A, E> extends LimitOptions {
  /** What the effect really cost each limit, by how it ended; the limits' costs are the estimates. */
  readonly actual: (exit: Exit.Exit<A, E>, limit: Limit) => Cost | 0
}

/** Like `withLimit` for a cost known only afterwards: takes the estimate before, and settles the actual cost after. */
export const withReservation: {
  <A, E>(
    options: ReservationOptions<A, E>
  ): <R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RateLimited | ImpossibleCost, R | RateLimiter>
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: ReservationOptions<A, E>
  ): Effect.Effect<A, E | RateLimited | ImpossibleCost, R | RateLimiter>
} = dual(2, <A, E, R>(
  self: Effect.Effect<A, E, R>,
  { actual, limits, within = Duration.zero }: ReservationOptions<A, E>
): Effect.Effect<A, E | RateLimited | ImpossibleCost, R | RateLimiter> =>
  RateLimiter.use((limiter) =>
    limiter.use(
      limits,
      { within },
      (permit) => Effect.onExit(self, (exit) => permit.settle((limit) => actual(exit, limit)))
    )
  ))
