/**
 * A cache that asks once for what many want: a value that is not there is loaded by one load, for however many callers.
 * Only values are kept, never an error or an interruption; in bounded memory, and no longer than they live. Old values
 * are served only where that was asked for, and labelled.
 *
 * A load belongs to the cache, not to the caller that began it. So it runs in the context in which the cache was made: a
 * deadline, a transaction or a scope of one caller has no part in it. A load must not wait for its own key.
 */
import { Context, Duration, Effect, Tracer } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
import { CacheState } from "./cache/CacheState.ts"
import type { CacheSettings } from "./cache/CacheState.ts"
import { labelled } from "./cache/Labelled.ts"
import type { Labelled } from "./cache/Labelled.ts"
import { checked, timeSpan, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { show } from "./PulledMetrics.ts"

export interface SingleFlightCacheOptions<Request, A, E, R> {
  /** Names the cache in metrics. */
  readonly name: string
  /** What tells one value from another. */
  readonly key: (request: Request) => string
  readonly load: (request: Request) => Effect.Effect<A, E, R>
  /** Values kept at once, the least lately used leaving first. */
  readonly capacity: number
  /** How long a value is fresh, from when its load began. */
  readonly timeToLive: Duration.Input
  /**
   * How much longer a value is served while a load for a new one runs in the background, which nobody waits for (RFC 5861,
   * `stale-while-revalidate`). Default not at all.
   */
  readonly staleWhileRevalidate?: Duration.Input | undefined
  /** Old values in place of errors (RFC 5861, `stale-if-error`). Default not at all. */
  readonly staleIfError?: {
    /** For how long after a value was fresh. */
    readonly within: Duration.Input
    /** In place of which errors; a defect is never hidden. Default all. */
    readonly when?: ((error: E) => boolean) | undefined
  } | undefined
}

export interface SingleFlightCache<Request, A, E> {
  readonly name: string
  readonly settings: CacheSettings<Request, A, E>
  readonly state: CacheState<Request, A, E>
}

/** The value of the request: one that is there, or what a load finds. Its errors are those of the load. */
export const get: {
  <Request>(request: Request): <A, E>(cache: SingleFlightCache<Request, A, E>) => Effect.Effect<A, E>
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, request: Request): Effect.Effect<A, E>
} = dual(
  2,
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, request: Request): Effect.Effect<A, E> =>
    cache.state.answer(request, ({ value }) => value)
)

/** The value of the request with its age, and whether it is stale: for caches that serve stale values. */
export const getLabelled: {
  <Request>(request: Request): <A, E>(cache: SingleFlightCache<Request, A, E>) => Effect.Effect<Labelled<A>, E>
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, request: Request): Effect.Effect<Labelled<A>, E>
} = dual(
  2,
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, request: Request): Effect.Effect<Labelled<A>, E> =>
    cache.state.answer<Labelled<A>>(request, labelled)
)

/** Forgets the value of the request. A load that is under way brings its value to those that wait, and no further. */
export const forget: {
  <Request>(request: Request): <A, E>(cache: SingleFlightCache<Request, A, E>) => Effect.Effect<void>
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, request: Request): Effect.Effect<void>
} = dual(
  2,
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, request: Request): Effect.Effect<void> =>
    Effect.sync(() => cache.state.forget(request))
)

/**
 * Forgets the values that the predicate holds for. What the loads under way will find is not known, so the value of none
 * of them is kept.
 */
export const forgetWhere: {
  <A>(predicate: (value: A) => boolean): <Request, E>(cache: SingleFlightCache<Request, A, E>) => Effect.Effect<void>
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, predicate: (value: A) => boolean): Effect.Effect<void>
} = dual(
  2,
  <Request, A, E>(cache: SingleFlightCache<Request, A, E>, predicate: (value: A) => boolean): Effect.Effect<void> =>
    Effect.sync(() => cache.state.forgetWhere(predicate))
)

const everything = () => true

/** A cache, whose loads run in the scope. It is shown in the metrics for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*<Request, A, E, R = never>(
    options: SingleFlightCacheOptions<Request, A, E, R>
  ): Effect.fn.Return<SingleFlightCache<Request, A, E>, InvalidSettings, R | Scope.Scope> {
    const { capacity, key, name, staleIfError } = options
    const timeToLiveMillis = Duration.toMillis(options.timeToLive)
    const revalidateMillis = Duration.toMillis(options.staleWhileRevalidate ?? Duration.zero)
    const errorMillis = Duration.toMillis(staleIfError?.within ?? Duration.zero)
    yield* checked(`The cache "${name}"`, options, [
      wholeNumber("capacity", capacity, 1, 10_000_000),
      timeSpan("timeToLive", timeToLiveMillis),
      options.staleWhileRevalidate === undefined ? undefined : timeSpan("staleWhileRevalidate", revalidateMillis),
      staleIfError === undefined ? undefined : timeSpan("staleIfError", errorMillis)
    ])
    const context = yield* Effect.context<R>()
    const settings: CacheSettings<Request, A, E> = {
      name,
      key,
      // The load is part of the trace of the caller that began it, and has nothing else of it.
      load: (request) =>
        Effect.updateContext(Effect.suspend(() => options.load(request)), (caller: Context.Context<never>) => {
          const span = Context.getOrUndefined(caller, Tracer.ParentSpan)
          return span === undefined ? context : Context.add(context, Tracer.ParentSpan, span)
        }),
      capacity,
      timeToLiveMillis,
      revalidateMillis,
      errorMillis,
      isCovered: staleIfError?.when ?? everything
    }
    const state = new CacheState(settings, yield* Effect.scope)
    yield* show(state.readings)
    return { name, settings, state }
  }
)
