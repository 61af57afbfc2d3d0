import { Duration } from "effect"
import type { Effect } from "effect"
import { checked, finiteNumber, share, timeSpan, wholeNumber } from "../InvalidSettings.ts"
import type { Check, InvalidSettings } from "../InvalidSettings.ts"

/** Opens after so many failures in a row. */
export interface ConsecutiveFailures {
  readonly _tag: "ConsecutiveFailures"
  readonly failures: number
}

export type WindowOptions =
  /** The last `size` calls. */
  | { readonly _tag: "Calls"; readonly size: number }
  /** The last `duration`, in `buckets` (10 unless told): nothing older counts, and a bucket leaves as a whole. */
  | { readonly _tag: "Time"; readonly duration: Duration.Input; readonly buckets?: number | undefined }

/** Opens when, of at least `minimumCalls` in the window, too large a share failed or was slow. */
export interface Rates {
  readonly _tag: "Rates"
  readonly window: WindowOptions
  /** Fewer calls than this in the window say nothing. */
  readonly minimumCalls: number
  /** The share of failed calls, in (0, 1], at which the circuit opens. */
  readonly failureRate?: number | undefined
  /** Calls that took `after` or longer are slow, whatever they returned; `rate` is their share, in (0, 1]. */
  readonly slowCalls?: { readonly after: Duration.Input; readonly rate: number } | undefined
}

export type TripPolicy = ConsecutiveFailures | Rates

/** What a breaker is built from. Every default stands beside its setting. */
export interface CircuitOptions {
  /** Names the breaker in errors, transitions and metrics. */
  readonly name: string
  readonly trip: TripPolicy
  /** How long the circuit stays open the first time. Default 5 seconds. */
  readonly openFor?: Duration.Input | undefined
  /** By how much the open time grows with each opening in a row. Default 2. */
  readonly growth?: number | undefined
  /** The open time never exceeds this. Default one minute, or `openFor` if that is longer. */
  readonly openForAtMost?: Duration.Input | undefined
  /** Closed for so long, the next opening starts again with `openFor`. Default `openForAtMost`. */
  readonly stableAfter?: Duration.Input | undefined
  readonly halfOpen?: {
    /** Probes at the same time. Default 1. */
    readonly probes?: number | undefined
    /** Successful probes that close the circuit. Default `probes`. */
    readonly successes?: number | undefined
    /** A probe that has not ended after this gives its place to another. Default 30 seconds. */
    readonly lease?: Duration.Input | undefined
  } | undefined
}

/** Options that were checked, in milliseconds. */
export interface CircuitSettings {
  readonly name: string
  readonly window:
    | { readonly _tag: "Streak" }
    | { readonly _tag: "CountWindow"; readonly size: number }
    | { readonly _tag: "TimeWindow"; readonly bucketMillis: number; readonly buckets: number }
  /** Failures in a row that open a circuit with a streak; infinite otherwise. */
  readonly failuresInARow: number
  readonly minimumCalls: number
  /** Shares at which the circuit opens; infinite when they don't matter. */
  readonly failureRate: number
  readonly slowRate: number
  readonly slowAfterMillis: number
  readonly openMillis: number
  readonly growth: number
  readonly maxOpenMillis: number
  readonly stableMillis: number
  readonly probes: number
  readonly successes: number
  readonly leaseMillis: number
}

/** The largest count window: its arrays are copied every fifteenth call. */
const maxWindowCalls = 100_000
const maxProbes = 1_000

const windowOf = (window: WindowOptions): CircuitSettings["window"] => {
  if (window._tag === "Calls") return { _tag: "CountWindow", size: window.size }
  const buckets = window.buckets ?? 10
  return { _tag: "TimeWindow", bucketMillis: Math.floor(Duration.toMillis(window.duration) / buckets), buckets }
}

const tripOf = (trip: TripPolicy) =>
  trip._tag === "ConsecutiveFailures"
    ? {
      window: { _tag: "Streak" as const },
      failuresInARow: trip.failures,
      minimumCalls: 1,
      failureRate: Infinity,
      slowRate: Infinity,
      slowAfterMillis: Infinity
    }
    : {
      window: windowOf(trip.window),
      failuresInARow: Infinity,
      minimumCalls: trip.minimumCalls,
      failureRate: trip.failureRate ?? Infinity,
      slowRate: trip.slowCalls?.rate ?? Infinity,
      slowAfterMillis: trip.slowCalls === undefined ? Infinity : Duration.toMillis(trip.slowCalls.after)
    }

const windowChecks = (window: WindowOptions, minimumCalls: number): ReadonlyArray<Check> => {
  if (window._tag === "Calls") {
    return [
      wholeNumber("window.size", window.size, 1, maxWindowCalls),
      wholeNumber("minimumCalls", minimumCalls, 1, Math.max(1, Math.min(window.size, maxWindowCalls)))
    ]
  }
  const buckets = window.buckets ?? 10
  const millis = Duration.toMillis(window.duration)
  return [
    timeSpan("window.duration", millis),
    wholeNumber("window.buckets", buckets, 1, 1_000),
    millis < buckets ? `window.duration must give each of its ${buckets} buckets 1 ms or more` : undefined,
    wholeNumber("minimumCalls", minimumCalls, 1, Number.MAX_SAFE_INTEGER)
  ]
}

const tripChecks = (trip: TripPolicy): ReadonlyArray<Check> =>
  trip._tag === "ConsecutiveFailures"
    ? [wholeNumber("failures", trip.failures, 1, Number.MAX_SAFE_INTEGER)]
    : [
      ...windowChecks(trip.window, trip.minimumCalls),
      trip.failureRate === undefined ? undefined : share("failureRate", trip.failureRate),
      trip.slowCalls === undefined ? undefined : share("slowCalls.rate", trip.slowCalls.rate),
      trip.slowCalls === undefined ? undefined : timeSpan("slowCalls.after", Duration.toMillis(trip.slowCalls.after)),
      trip.failureRate === undefined && trip.slowCalls === undefined
        ? "failureRate or slowCalls must be given, or nothing opens the circuit"
        : undefined
    ]

/** Checks the options; all that is wrong is in one error. */
export const fromOptions = (options: CircuitOptions): Effect.Effect<CircuitSettings, InvalidSettings> => {
  const openMillis = Duration.toMillis(options.openFor ?? "5 seconds")
  const maxOpenMillis = Duration.toMillis(options.openForAtMost ?? Duration.millis(Math.max(openMillis, 60_000)))
  const stableMillis = options.stableAfter === undefined ? maxOpenMillis : Duration.toMillis(options.stableAfter)
  const probes = options.halfOpen?.probes ?? 1
  const settings: CircuitSettings = {
    name: options.name,
    ...tripOf(options.trip),
    openMillis,
    growth: options.growth ?? 2,
    maxOpenMillis,
    stableMillis,
    probes,
    successes: options.halfOpen?.successes ?? probes,
    leaseMillis: Duration.toMillis(options.halfOpen?.lease ?? "30 seconds")
  }
  return checked(`The circuit breaker "${options.name}"`, settings, [
    ...tripChecks(options.trip),
    timeSpan("openFor", openMillis),
    timeSpan("openForAtMost", maxOpenMillis),
    maxOpenMillis < openMillis ? "openForAtMost must not be shorter than openFor" : undefined,
    timeSpan("stableAfter", stableMillis),
    finiteNumber("growth", settings.growth, 1, 1_000),
    wholeNumber("halfOpen.probes", probes, 1, maxProbes),
    wholeNumber("halfOpen.successes", settings.successes, 1, maxProbes),
    timeSpan("halfOpen.lease", settings.leaseMillis)
  ])
}
