/** The resilience policies of this library as layers of a `Policy`. */
import { Duration } from "effect"
import * as AdaptiveLimits from "../AdaptiveLimit.ts"
import type { AdaptiveLimit, AdaptiveLimitReached } from "../AdaptiveLimit.ts"
import type { Bulkhead, BulkheadFull } from "../Bulkhead.ts"
import { withPlace } from "../Bulkhead.ts"
import { classifyByDefault } from "../circuit/CircuitRun.ts"
import type { CircuitOpen } from "../circuit/CircuitRun.ts"
import type { CircuitSettings } from "../circuit/CircuitSettings.ts"
import type { CircuitBreaker, ProtectOptions } from "../CircuitBreaker.ts"
import * as Deadline from "../Deadline.ts"
import type { DeadlineExceeded } from "../Deadline.ts"
import * as Fallbacks from "../Fallback.ts"
import type { Fallback } from "../Fallback.ts"
import * as Faults from "../FaultInjection.ts"
import type { FaultInjection } from "../FaultInjection.ts"
import * as Hedge from "../Hedge.ts"
import { orLastValue } from "../LastAnswers.ts"
import type { LastAnswers } from "../LastAnswers.ts"
import { layer } from "../Policy.ts"
import type { Policy } from "../Policy.ts"
import type { Limits } from "../ratelimit/Limiter.ts"
import * as PolicyText from "../ratelimit/PolicyText.ts"
import type { ImpossibleCost, RateLimited } from "../ratelimit/RateLimitErrors.ts"
import { withLimit } from "../RateLimiter.ts"
import type { LimitOptions, RateLimiter } from "../RateLimiter.ts"
import * as Retry from "../Retry.ts"
import { withRetryBudget } from "../RetryBudget.ts"
import type { RetryBudget } from "../RetryBudget.ts"
import { textOf } from "../RetryDelay.ts"
import * as Timeout from "../Timeout.ts"
import type { TimedOut } from "../Timeout.ts"

const milliseconds = (millis: number): string => Duration.format(Duration.millis(millis))
const percent = (share: number): string => `${Number((share * 100).toFixed(2))}%`

/** The whole request, with all its attempts, must end within `duration` or the outer deadline: see `Deadline`. */
export const deadline = (duration: Duration.Input): Policy<DeadlineExceeded> => {
  const span = Duration.fromInputUnsafe(duration)
  return layer<DeadlineExceeded>({
    role: { kind: "Deadline", millis: Duration.toMillis(span) },
    get text() {
      return `deadline ${Duration.format(span)}`
    },
    metrics: [],
    wrap: Deadline.within(span)
  })
}

/** What is within must end within `duration`: inside a retry this is each attempt. See `Timeout`. */
export const timeout = (duration: Duration.Input): Policy<TimedOut> => {
  const span = Duration.fromInputUnsafe(duration)
  return layer<TimedOut>({
    role: { kind: "Timeout", millis: Duration.toMillis(span) },
    get text() {
      return `timeout ${Duration.format(span)}`
    },
    metrics: [],
    wrap: Timeout.timeout(span)
  })
}

/** Repeats what is within. The errors it sees are those of the layers within as well. */
export const retry = <E>(
  policy: Retry.RetryPolicy<E>,
  call?: Retry.Repeatability
): Policy<never, never, never, never, E> => {
  return layer<never, never, never, never, E>({
    role: { kind: "Retry", attempts: policy.maxAttempts },
    get text() {
      const delays = textOf(policy.schedule)
      return `retry ×${policy.maxAttempts}${delays === undefined ? "" : ` (${delays})`}`
    },
    metrics: ["retry_failed_attempts_total"],
    wrap: Retry.retry(policy, call)
  })
}

/** Makes what is within again when it takes long: up to so many times besides the first, printed as `+1`. */
export const hedge = <E>(
  policy: Hedge.Hedge<E>,
  call?: Retry.Repeatability
): Policy<never, never, never, never, E> =>
  layer<never, never, never, never, E>({
    role: { kind: "Hedge" },
    get text() {
      const { after, maxHedges } = policy
      const delay = after._tag === "Fixed"
        ? Duration.format(Duration.fromInputUnsafe(after.delay))
        : `${percent(after.percentile)} of latencies`
      return `hedge +${maxHedges} (after ${delay})`
    },
    metrics: [
      "hedge_calls_begun_total",
      "hedge_calls_total",
      "hedge_delay_seconds",
      "hedge_hedges_total",
      "hedge_withheld_total"
    ],
    wrap: Hedge.hedge(policy, call)
  })

/** The retries and hedges within take from one budget. */
export const retryBudget = (budget: RetryBudget): Policy =>
  layer<never>({
    role: { kind: "RetryBudget" },
    get text() {
      return `retry budget ${percent(budget.ratio)} (up to ${budget.capacity})`
    },
    metrics: [],
    wrap: withRetryBudget(budget)
  })

const rateTexts = ({ failureRate, slowAfterMillis, slowRate }: CircuitSettings): ReadonlyArray<string> => [
  ...failureRate === Infinity ? [] : [`${percent(failureRate)} failed`],
  ...slowRate === Infinity ? [] : [`${percent(slowRate)} at ${milliseconds(slowAfterMillis)} or more`]
]

const tripText = (settings: CircuitSettings): string => {
  const { failuresInARow, minimumCalls, window } = settings
  const rates = rateTexts(settings).join(" or ")
  switch (window._tag) {
    case "Streak":
      return failuresInARow === 1 ? "1 failure" : `${failuresInARow} failures`
    case "CountWindow":
      return `${rates} of ${minimumCalls} to ${window.size} calls`
    case "TimeWindow":
      return `${rates} of ${minimumCalls} calls or more in ${milliseconds(window.bucketMillis * window.buckets)}`
  }
}

const circuitMetrics = [
  "circuit_breaker_calls_total",
  "circuit_breaker_circuits",
  "circuit_breaker_late_results_total",
  "circuit_breaker_permits_total",
  "circuit_breaker_transitions_total"
]

/** Refuses calls while what is within keeps failing. Of a breaker with keys, the circuit of one. */
export const circuit = <A = unknown, E = unknown>(
  breaker: CircuitBreaker,
  { classify = classifyByDefault }: ProtectOptions<A, E> = {}
): Policy<CircuitOpen, never, never, never, E, A> =>
  layer<CircuitOpen, never, never, never, E, A>({
    role: { kind: "Circuit" },
    get text() {
      return `circuit "${breaker.name}" (${tripText(breaker.settings)}, ${milliseconds(breaker.settings.openMillis)})`
    },
    metrics: circuitMetrics,
    wrap: (self) => breaker.run(self, classify)
  })

const queueText = (queue: number): string => queue === 0 ? "" : ` (+${queue})`

/** At most so many at a time, and so many in its queue: printed as `32 (+100)`. */
export const bulkhead = (bulkhead: Bulkhead): Policy<BulkheadFull> =>
  layer<BulkheadFull>({
    role: { kind: "Bulkhead", queue: bulkhead.queue },
    get text() {
      return `bulkhead "${bulkhead.name}" ${bulkhead.limit}${queueText(bulkhead.queue)}`
    },
    metrics: ["bulkhead_admitted_total", "bulkhead_queued", "bulkhead_rejected_total", "bulkhead_running"],
    wrap: withPlace(bulkhead)
  })

/** At most as many at a time as what is within can take, which it finds out: printed as `1..200 (+100)`. */
export const adaptiveLimit = (limit: AdaptiveLimit): Policy<AdaptiveLimitReached> =>
  layer<AdaptiveLimitReached>({
    role: { kind: "AdaptiveLimit", queue: limit.queue },
    get text() {
      const { maximum, minimum } = limit.settings
      return `adaptive limit "${limit.name}" ${minimum}..${maximum}${queueText(limit.queue)}`
    },
    metrics: [
      "adaptive_limit_admitted_total",
      "adaptive_limit_calls_begun_total",
      "adaptive_limit_calls_total",
      "adaptive_limit_limit",
      "adaptive_limit_queued",
      "adaptive_limit_rejected_total",
      "adaptive_limit_running",
      "adaptive_limit_slow_above_seconds"
    ],
    wrap: AdaptiveLimits.withPlace(limit)
  })

export interface RateLimitOptions extends LimitOptions {
  /**
   * Whose limit it is. One on what a caller may ask for counts `requests`: a retry must not charge the caller again. One
   * on what a dependency may be asked for counts `attempts`: a retry asks again.
   */
  readonly counts: "requests" | "attempts"
}

const limitsText = (limits: Limits): string =>
  [limits].flat().map(({ policy }) => `"${policy.name}" ${PolicyText.print(policy)}`).join(" and ")

const rateLimiterMetrics = [
  "rate_limiter_decisions_total",
  "rate_limiter_events_lost_total",
  "rate_limiter_refusals_total",
  "rate_limiter_store_up",
  "rate_limiter_unshared_total",
  "rate_limiter_waiting"
]

/** At most so much in a time, by the rate limiter of the context. */
export const rateLimit = (options: RateLimitOptions): Policy<RateLimited | ImpossibleCost, never, RateLimiter> => {
  const { counts, limits, within } = options
  return layer<RateLimited | ImpossibleCost, never, RateLimiter>({
    role: { kind: "RateLimit", counts, waits: within !== undefined },
    get text() {
      const waits = within === undefined ? "" : `, waiting up to ${Duration.format(Duration.fromInputUnsafe(within))}`
      return `rate limit of ${counts} ${limitsText(limits)}${waits}`
    },
    metrics: rateLimiterMetrics,
    wrap: withLimit(options)
  })
}

/** Another answer in place of the errors that the fallback names. */
export const fallback = <Handled, B, E2, R2>(
  fallback: Fallback<Handled, B, E2, R2>
): Policy<E2, Handled, R2, B> =>
  layer<E2, Handled, R2, B>({
    role: { kind: "Fallback" },
    get text() {
      return `fallback "${fallback.name}"`
    },
    metrics: ["fallback_answers_total", "fallback_calls_begun_total", "fallback_calls_total"],
    wrap: Fallbacks.orElse(fallback)
  })

/** The last good answer for the key in place of an error, while it is young enough. */
export const lastAnswer = <A, E>(
  last: LastAnswers<A, E>,
  key: string
): Policy<never, never, never, A, E, A> =>
  layer<never, never, never, A, E, A>({
    role: { kind: "Fallback" },
    get text() {
      return `last answer "${last.name}" (within ${milliseconds(last.withinMillis)})`
    },
    metrics: [
      "last_answers_calls_begun_total",
      "last_answers_calls_total",
      "last_answers_evictions_total",
      "last_answers_kept",
      "last_answers_stale_total"
    ],
    wrap: (self) => orLastValue(self, last, key)
  })

/** Faults on purpose while a drill is under way: the innermost layer. */
export const faults = <E>(faults: FaultInjection<E>): Policy<E> =>
  layer<E>({
    role: { kind: "FaultInjection" },
    get text() {
      return `fault injection "${faults.name}"`
    },
    metrics: ["fault_injection_active", "fault_injection_injected_total"],
    wrap: Faults.around(faults)
  })
