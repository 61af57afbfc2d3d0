/**
 * A limit of concurrent calls that finds itself: it falls while the other side gets slower or refuses, and rises again
 * while it does well, always between two bounds. Unlike a bulkhead it needs nobody to know how much is too much; unlike
 * a circuit breaker it lets through what the other side can still do.
 */
import { Cause, Clock, Duration, Effect, Exit, Schema } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
import { slowAboveMillis } from "./adaptive/LimitAlgorithm.ts"
import type { LimitAlgorithm } from "./adaptive/LimitAlgorithm.ts"
import { initial, limitOf, settle } from "./adaptive/LimitState.ts"
import type { LimitSettings, LimitState, Sample, SampleEnding } from "./adaptive/LimitState.ts"
import { inPlace, Places } from "./bulkhead/Places.ts"
import { CallOutcomes } from "./CallOutcomes.ts"
import { DeadlineExceeded } from "./Deadline.ts"
import { checked, finiteNumber, share, timeSpan, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { monotonicMillis } from "./MonotonicTime.ts"
import type { AdaptiveLimitSnapshot } from "./policy/DirectoryEntry.ts"
import { show } from "./PulledMetrics.ts"
import { RejectionTypeId } from "./Rejection.ts"
import { TimedOut } from "./Timeout.ts"

/** As many calls run as may now, and the queue is full; or the call waited its longest. Nothing ran. */
export class AdaptiveLimitReached extends Schema.TaggedError<AdaptiveLimitReached>()("AdaptiveLimitReached", {
  adaptiveLimit: Schema.String,
  /** The limit at that moment. */
  limit: Schema.Int,
  reason: Schema.Literals(["QueueFull", "WaitedTooLong"])
}) {
  readonly [RejectionTypeId] = true
  override get message() {
    return `The adaptive limit ${this.adaptiveLimit} lets ${this.limit} calls run at once, and they do`
  }
}

/** By latency compared with the usual one; see `Gradient2` in `adaptive/LimitAlgorithm.ts`. */
export interface Gradient2Options {
  readonly _tag: "Gradient2"
  /** Default 1.5. */
  readonly tolerance?: number | undefined
  /** Default 4. */
  readonly queueSize?: number | undefined
  /** Default 0.2. */
  readonly smoothing?: number | undefined
  /** Default 600: ten minutes of windows of a second. */
  readonly longWindows?: number | undefined
}

/** By refusals, and a latency that is too much; see `Aimd` in `adaptive/LimitAlgorithm.ts`. */
export interface AimdOptions {
  readonly _tag: "Aimd"
  /** The average latency above which the limit falls. */
  readonly latencyAtMost: Duration.Input
  /** What is left of the limit when it falls. Default 0.9. */
  readonly backoff?: number | undefined
}

export interface AdaptiveLimitOptions {
  readonly name: string
  readonly algorithm: Gradient2Options | AimdOptions
  /** The limit is never more. */
  readonly maximum: number
  /** And never less. Default 1. */
  readonly minimum?: number | undefined
  /** Where it begins. Default 20, kept between the two. */
  readonly initial?: number | undefined
  /** The limit moves at most once in this, and not for calls with more than this between them. Default 1 second. */
  readonly window?: Duration.Input | undefined
  /** And not before so many calls have ended. Default 10. */
  readonly minimumSamples?: number | undefined
  /** Calls that may wait for a place. Default 0: a call without a place is rejected at once. */
  readonly queue?: number | undefined
  /** The longest a call waits. Default 1 second. */
  readonly maxWait?: Duration.Input | undefined
  /** The errors by which the other side says that it has too much to do. Default none. */
  readonly isOverload?: ((error: unknown) => boolean) | undefined
}

/** The limit, its places and its queue. Every step is synchronous, hence atomic. */
export class AdaptiveLimit extends Places<AdaptiveLimitReached> {
  readonly settings: LimitSettings
  readonly isOverload: (error: unknown) => boolean
  readonly calls = new CallOutcomes()
  #state: LimitState

  constructor(
    settings: LimitSettings,
    waiting: { readonly queue: number; readonly maxWait: Duration.Duration },
    isOverload: (error: unknown) => boolean,
    now: number
  ) {
    const { name } = settings
    super({
      ...waiting,
      limit: settings.initial,
      refusal: (reason) => new AdaptiveLimitReached({ adaptiveLimit: name, limit: this.limit, reason })
    })
    this.settings = settings
    this.isOverload = isOverload
    this.#state = initial(settings, now)
  }

  get name(): string {
    return this.settings.name
  }

  /** The latency in milliseconds above which calls count as slow; undefined while that isn't known. */
  get slowAboveMillis(): number | undefined {
    return slowAboveMillis(this.settings.algorithm, this.#state.estimate)
  }

  get snapshot(): AdaptiveLimitSnapshot {
    const { maximum, minimum, name } = this.settings
    return { name, limit: this.limit, minimum, maximum, running: this.running }
  }

  /** A call ended. Places that this makes go to those that wait. */
  settle(sample: Sample, now: number): void {
    this.#state = settle(this.settings, this.#state, sample, now)
    const limit = limitOf(this.#state)
    if (limit !== this.limit) this.resize(limit)
  }
}

/**
 * What the end of a call tells. An error tells nothing: it may come at once, and would make the other side look fast.
 * Running out of time does, as an interruption does.
 */
const endingOf = (exit: Exit.Exit<unknown, unknown>, limit: AdaptiveLimit): SampleEnding | undefined => {
  if (Exit.isSuccess(exit)) return "Answered"
  if (Cause.hasInterruptsOnly(exit.cause)) return "GivenUp"
  for (const reason of exit.cause.reasons) {
    if (!Cause.isFailReason(reason)) continue
    if (limit.isOverload(reason.error)) return "Refused"
    if (reason.error instanceof TimedOut || reason.error instanceof DeadlineExceeded) return "GivenUp"
  }
  return undefined
}

/** Tells the limit how long `self` took, without the time it waited for its place. */
const measured = <A, E, R>(self: Effect.Effect<A, E, R>, limit: AdaptiveLimit): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    const startedAt = monotonicMillis(clock)
    const inFlight = limit.running
    return Effect.onExitPrimitive(self, (exit) => {
      const ending = endingOf(exit, limit)
      if (ending !== undefined) {
        const now = monotonicMillis(clock)
        limit.settle({ ending, latencyMillis: now - startedAt, inFlight }, now)
      }
      return undefined
    })
  })

/**
 * Runs `self` if the limit has a place for it now, or has one in time where it has a queue; `AdaptiveLimitReached` joins
 * its errors. The place is given back on every way out.
 */
export const withPlace: {
  (limit: AdaptiveLimit): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | AdaptiveLimitReached, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, limit: AdaptiveLimit): Effect.Effect<A, E | AdaptiveLimitReached, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, limit: AdaptiveLimit): Effect.Effect<A, E | AdaptiveLimitReached, R> =>
    limit.calls.observe(inPlace(measured(self, limit), limit))
)

const shown = (limit: AdaptiveLimit): Effect.Effect<void, never, Scope.Scope> => {
  const attributes = { adaptive_limit: limit.name }
  return show([
    { type: "Gauge", id: "adaptive_limit_limit", attributes, read: () => limit.limit },
    { type: "Gauge", id: "adaptive_limit_running", attributes, read: () => limit.running },
    { type: "Gauge", id: "adaptive_limit_queued", attributes, read: () => limit.queued },
    {
      type: "Gauge",
      id: "adaptive_limit_slow_above_seconds",
      attributes,
      read: () => (limit.slowAboveMillis ?? 0) / 1_000
    },
    { type: "Counter", id: "adaptive_limit_admitted_total", attributes, read: () => limit.admitted },
    { type: "Counter", id: "adaptive_limit_rejected_total", attributes, read: () => limit.rejected },
    ...limit.calls.readings("adaptive_limit_calls", attributes)
  ])
}

const algorithmOf = (options: Gradient2Options | AimdOptions): LimitAlgorithm =>
  options._tag === "Gradient2"
    ? {
      _tag: "Gradient2",
      tolerance: options.tolerance ?? 1.5,
      queueSize: options.queueSize ?? 4,
      smoothing: options.smoothing ?? 0.2,
      longWindows: options.longWindows ?? 600
    }
    : {
      _tag: "Aimd",
      latencyAtMostMillis: Duration.toMillis(options.latencyAtMost),
      backoff: options.backoff ?? 0.9
    }

const checksOf = (algorithm: LimitAlgorithm) =>
  algorithm._tag === "Gradient2"
    ? [
      finiteNumber("tolerance", algorithm.tolerance, 1, 100),
      finiteNumber("queueSize", algorithm.queueSize, 1, 1_000_000),
      share("smoothing", algorithm.smoothing),
      wholeNumber("longWindows", algorithm.longWindows, 10, 1_000_000)
    ]
    : [
      timeSpan("latencyAtMost", algorithm.latencyAtMostMillis),
      algorithm.backoff < 1 ? finiteNumber("backoff", algorithm.backoff, 0.5, 1) : "backoff must be less than 1"
    ]

/** A limit, shown in the metrics for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*(options: AdaptiveLimitOptions): Effect.fn.Return<AdaptiveLimit, InvalidSettings, Scope.Scope> {
    const { maximum, minimum = 1, minimumSamples = 10, name, queue = 0 } = options
    const maxWait = Duration.fromInputUnsafe(options.maxWait ?? "1 second")
    const settings: LimitSettings = {
      name,
      algorithm: algorithmOf(options.algorithm),
      minimum,
      maximum,
      initial: options.initial ?? Math.max(minimum, Math.min(maximum, 20)),
      windowMillis: Duration.toMillis(options.window ?? "1 second"),
      minimumSamples
    }
    yield* checked(`The adaptive limit "${name}"`, settings, [
      ...checksOf(settings.algorithm),
      wholeNumber("maximum", maximum, 1, 1_000_000),
      wholeNumber("minimum", minimum, 1, Math.max(1, maximum)),
      options.initial === undefined ? undefined : wholeNumber("initial", options.initial, minimum, maximum),
      timeSpan("window", settings.windowMillis),
      wholeNumber("minimumSamples", minimumSamples, 1, 1_000_000),
      wholeNumber("queue", queue, 0, 1_000_000),
      timeSpan("maxWait", Duration.toMillis(maxWait))
    ])
    const now = yield* Effect.clockWith((clock) => Effect.sync(() => monotonicMillis(clock)))
    const limit = new AdaptiveLimit(settings, { queue, maxWait }, options.isOverload ?? (() => false), now)
    yield* shown(limit)
    return limit
  }
)
