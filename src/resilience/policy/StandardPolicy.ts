/**
 * The usual stack around calls to something that may fail, hang or be overloaded, in the recommended order:
 *
 * `deadline → answers (cache, fallback) → retry → circuit → bulkhead → timeout of an attempt`
 *
 * Why so:
 * - The deadline is outermost: it is what the caller was promised, with all attempts and delays in it.
 * - A cache and a fallback answer without the dependency, so nothing that refuses calls stands before them, and they see
 *   the last failure, not the first.
 * - The retry is around the circuit, so that the circuit counts each attempt and an open circuit ends the retries early.
 * - The circuit is around the bulkhead, so that while it is open nothing queues; and a full bulkhead, being a refusal of
 *   our own, does not count against the dependency.
 * - The bulkhead is within the retry, so that no place is held during a delay.
 * - The timeout is innermost: it measures the dependency alone, not our queue, and what it ends the circuit counts.
 *
 * Polly v8's standard pipeline (`HttpStandardResilienceOptions` in Microsoft.Extensions.Http.Resilience) is rate limiter →
 * total timeout → retry → circuit breaker → attempt timeout; ours differs in limiting attempts rather than requests, so
 * that retries take no place while they wait. resilience4j's default order (its guide's "Aspect order") is retry →
 * circuit breaker → rate limiter → time limiter → bulkhead; ours differs in the last two, so that waiting for a place
 * doesn't count as slowness of the dependency.
 */
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import * as Bulkhead from "../Bulkhead.ts"
import type { BulkheadFull, BulkheadOptions } from "../Bulkhead.ts"
import type { CircuitOpen } from "../circuit/CircuitRun.ts"
import type { CircuitOptions } from "../circuit/CircuitSettings.ts"
import * as CircuitBreaker from "../CircuitBreaker.ts"
import { checked, timeSpan } from "../InvalidSettings.ts"
import type { InvalidSettings } from "../InvalidSettings.ts"
import { around } from "../Policy.ts"
import type { Policy } from "../Policy.ts"
import * as Retry from "../Retry.ts"
import type { TimedOut } from "../Timeout.ts"
import * as Layers from "./Layers.ts"

/** What the layers within the retry add to the errors of the call: a retry must say which of them it repeats. */
export type AttemptError = CircuitOpen | BulkheadFull | TimedOut

export interface StandardParts<E> {
  /** Within which the whole call is answered. */
  readonly deadline: Duration.Input
  readonly retry: Retry.RetryPolicy<E | AttemptError>
  readonly circuit: CircuitBreaker.CircuitBreaker
  readonly bulkhead: Bulkhead.Bulkhead
  /** How long an attempt may take, its wait for a place not counted. */
  readonly attemptTimeout: Duration.Input
}

const attempts = <E>({ attemptTimeout, bulkhead, circuit, retry }: StandardParts<E>) =>
  Layers.retry(retry).pipe(
    around(Layers.circuit(circuit)),
    around(Layers.bulkhead(bulkhead)),
    around(Layers.timeout(attemptTimeout))
  )

/** The stack without a cache or a fallback. Making it is cheap, so it may be made anew for the circuit of each key. */
export const of = <E>(parts: StandardParts<E>) => Layers.deadline(parts.deadline).pipe(around(attempts(parts)))

/**
 * The stack with a cache or a fallback, or one around the other, in their place. A `SingleFlightCache` is no layer: its
 * loads outlive the callers that began them, so the whole stack goes around its `load`, with a deadline of its own.
 */
export const withAnswers = <E, Added, Handled, Requires, Value, Takes>(
  answers: Policy<Added, Handled, Requires, Value, E | AttemptError, Takes>,
  parts: StandardParts<E>
) => Layers.deadline(parts.deadline).pipe(around(answers), around(attempts(parts)))

/** What the parts are made from. Every default stands beside its setting. */
export interface StandardOptions<E> {
  /** Names the parts in errors and metrics. */
  readonly name: string
  /** Within which the whole call is answered. */
  readonly deadline: Duration.Input
  /** How long an attempt may take, its wait for a place not counted. */
  readonly attemptTimeout: Duration.Input
  readonly retry: Omit<Retry.RetryOptions<E | AttemptError>, "name">
  /** Default: opens after 5 failures in a row, for 30 seconds at first. */
  readonly circuit?: Omit<CircuitOptions, "name"> | undefined
  readonly bulkhead: Omit<BulkheadOptions, "name">
}

export interface MadeParts<E> extends StandardParts<E> {
  readonly circuit: CircuitBreaker.LocalCircuitBreaker
}

const usualCircuit = { trip: { _tag: "ConsecutiveFailures", failures: 5 }, openFor: "30 seconds" } as const

/** Makes the parts, whose metrics are shown for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*<E>(options: StandardOptions<E>): Effect.fn.Return<MadeParts<E>, InvalidSettings, Scope.Scope> {
    const { attemptTimeout, deadline, name } = options
    const deadlineMillis = Duration.toMillis(deadline)
    const attemptMillis = Duration.toMillis(attemptTimeout)
    yield* checked(`The policy "${name}"`, undefined, [
      timeSpan("deadline", deadlineMillis),
      timeSpan("attemptTimeout", attemptMillis),
      attemptMillis < deadlineMillis ? undefined : "attemptTimeout must be shorter than deadline, or it never acts"
    ])
    return {
      deadline,
      attemptTimeout,
      retry: yield* Retry.make({ ...options.retry, name }),
      circuit: yield* CircuitBreaker.make({ ...options.circuit ?? usualCircuit, name }),
      bulkhead: yield* Bulkhead.make({ ...options.bulkhead, name })
    }
  }
)
