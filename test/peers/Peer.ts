/** What a library may offer; each part is what some of the laws are about. */
import type { Guard } from "./Work.ts"

export interface LimiterAnswer {
  readonly admitted: boolean
  /** The wait it names with a refusal. */
  readonly retryAfterMillis: number | undefined
  /** Whether it says that no wait will do. */
  readonly isImpossible: boolean
}

export interface Limiter {
  readonly decide: (key: string, cost: number) => Promise<LimiterAnswer>
  /** Keys in its memory now. */
  readonly keysHeld: () => number
  /** Waits until it is admitted; the signal gives up. Only where the library lets callers wait. */
  readonly acquire?: ((key: string, signal: AbortSignal) => Promise<unknown>) | undefined
  readonly dispose?: (() => unknown) | undefined
}

export type MakeLimiter = (limit: number, windowMillis: number) => Limiter

export interface Breaker extends Guard {}

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly failures: number
  readonly openMillis: number
}

export interface WindowedOptions {
  readonly windowMillis: number
  readonly minimumCalls: number
  /** It opens when more than this share of the calls in the window failed. */
  readonly share: number
}

export interface Peer {
  readonly name: string
  /** By the name of the algorithm. */
  readonly buckets: Readonly<Record<string, MakeLimiter>>
  readonly windows: Readonly<Record<string, MakeLimiter>>
  /** Whether its limiters let callers wait, and give up. */
  readonly limiterLetsWait: boolean
  readonly breaker: ((options: BreakerOptions) => Breaker) | undefined
  /** Whether a call through a breaker can be given up. */
  readonly breakerCanGiveUp: boolean
  readonly windowedBreaker: ((options: WindowedOptions) => Breaker) | undefined
  readonly bulkhead: ((limit: number, queue: number) => Guard) | undefined
  readonly bulkheadHasQueue: boolean
  readonly timeout: ((limits: ReadonlyArray<number>) => Guard) | undefined
  readonly retry: ((options: RetryOptions) => Guard) | undefined
}

export interface RetryOptions {
  /** Calls in all. */
  readonly attempts: number
  readonly delay:
    | { readonly _tag: "Constant"; readonly millis: number }
    /** Delays with jitter, none longer than `cap`. */
    | { readonly _tag: "Jitter"; readonly base: number; readonly cap: number }
  readonly deadlineMillis?: number | undefined
}

/** A library that offers none of it. */
export const nothing = {
  buckets: {},
  windows: {},
  limiterLetsWait: false,
  breaker: undefined,
  breakerCanGiveUp: false,
  windowedBreaker: undefined,
  bulkhead: undefined,
  bulkheadHasQueue: false,
  timeout: undefined,
  retry: undefined
} satisfies Omit<Peer, "name">
