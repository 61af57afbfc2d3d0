/**
 * Hedging: a call that takes longer than most is made a second time, and the first answer wins. It cuts the long tail of
 * latencies for a few calls more (Dean and Barroso, "The Tail at Scale", CACM 2013). It is an answer to slowness: a call
 * whose attempts have all failed has failed, and trying again is the business of a retry.
 *
 * Each hedge takes from the retry budget in the fiber's context, so that hedges and retries together can't multiply the
 * load on something that is slow because it has too much to do. Without a budget there, only `maxHedges` bounds them.
 */
import { Cause, Clock, Duration, Effect, Exit, Fiber } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
import { CallOutcomes } from "./CallOutcomes.ts"
import { remainingMillis } from "./Deadline.ts"
import { LatencyQuantile } from "./hedge/LatencyQuantile.ts"
import { Race } from "./hedge/Race.ts"
import type { HedgeEnding } from "./hedge/Race.ts"
import { checked, share, timeSpan, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { monotonicMillis } from "./MonotonicTime.ts"
import { show } from "./PulledMetrics.ts"
import type { Reading } from "./PulledMetrics.ts"
import { mayRepeat } from "./Retry.ts"
import type { Repeatability } from "./Retry.ts"
import { countRequest } from "./RetryBudget.ts"
import type { RetryBudget } from "./RetryBudget.ts"

/** When an attempt has taken so long that another may begin. */
export type HedgeDelay =
  | { readonly _tag: "Fixed"; readonly delay: Duration.Input }
  | {
    /** As long as this share of the calls takes, of those that went through the policy of late. */
    readonly _tag: "Percentile"
    /** In (0, 1]; 0.95 hedges one call in twenty. */
    readonly percentile: number
    /** No delay is shorter. Default 1 millisecond. */
    readonly atLeast?: Duration.Input | undefined
    /** The last `window` to `2 × window` calls count. Default 1,000. */
    readonly window?: number | undefined
    /** Calls before the first hedge, at most `window`. Default 100. */
    readonly minimumCalls?: number | undefined
  }

export interface HedgeOptions<E> {
  /** Names the policy in metrics. */
  readonly name: string
  readonly after: HedgeDelay
  /** Whether the call may be made twice at all; one that may not is never hedged. */
  readonly call: Repeatability
  /** Attempts besides the first. Default 1. */
  readonly maxHedges?: number | undefined
  /** The errors that every attempt would end with, such as a caller's own fault: they end the call. Default none. */
  readonly isFinal?: ((error: E) => boolean) | undefined
}

export interface Hedge<in E> {
  readonly name: string
  readonly after: HedgeDelay
  readonly call: Repeatability
  readonly maxHedges: number
  readonly isFinal: (error: E) => boolean
  readonly state: HedgeState
}

/** What a policy has seen, and what it counts for the metrics. */
export class HedgeState {
  readonly calls = new CallOutcomes()
  readonly ended: Record<HedgeEnding, number> = { won: 0, failed: 0, lost: 0, interrupted: 0 }
  /** Hedges that the budget had nothing left for. */
  withheld = 0
  readonly #fixedMillis: number
  readonly #latencies: LatencyQuantile | undefined

  /** The delay is `millis`, or with latencies at least that. */
  constructor(millis: number, latencies: LatencyQuantile | undefined) {
    this.#fixedMillis = millis
    this.#latencies = latencies
  }

  /** The delay before the next hedge in milliseconds; undefined while too few calls were seen. */
  get delayMillis(): number | undefined {
    if (this.#latencies === undefined) return this.#fixedMillis
    const { millis } = this.#latencies
    return millis === undefined ? undefined : Math.max(this.#fixedMillis, millis)
  }

  /**
   * A first attempt ended. One without an answer would have taken longer: it counts where it has been slow already, so
   * that those which lose to their hedges don't make the other side look fast.
   */
  record(millis: number, isAnswer: boolean): void {
    if (isAnswer || millis >= (this.delayMillis ?? Infinity)) this.#latencies?.record(millis)
  }
}

const isFinalFor = <E>({ isFinal }: Hedge<E>) => (cause: Cause.Cause<E>): boolean =>
  cause.reasons.some((reason) => Cause.isDieReason(reason) || (Cause.isFailReason(reason) && isFinal(reason.error)))

/** Runs the first attempt, and tells the policy how long it took. */
const timed = <A, E, R>(attempt: Effect.Effect<A, E, R>, state: HedgeState, clock: Clock.Clock) =>
  Effect.suspend(() => {
    const startedAt = monotonicMillis(clock)
    return Effect.onExitPrimitive(attempt, (exit) => {
      state.record(monotonicMillis(clock) - startedAt, Exit.isSuccess(exit))
      return undefined
    })
  })

/** Waits until the race is decided, or for so long. The timer ends with it. */
const decidedWithin = <A, E>(
  race: Race<A, E>,
  millis: number,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<void> => {
  const change = Effect.callback<void>((resume) => {
    race.wake = () => resume(Effect.void)
    if (race.decision !== undefined) race.wake()
  })
  if (millis === Infinity) return restore(change)
  const expire = Effect.andThen(Effect.sleep(Duration.millis(millis)), Effect.sync(() => race.wake()))
  return Effect.flatMap(
    Effect.forkChild(expire, { startImmediately: true }),
    (timer) =>
      Effect.onExitPrimitive(restore(change), () => {
        timer.interruptUnsafe()
        return timer.pollUnsafe() === undefined ? Effect.asVoid(Fiber.await(timer)) : undefined
      })
  )
}

const run = <A, E, R>(
  attempt: Effect.Effect<A, E, R>,
  hedge: Hedge<E>,
  budget: RetryBudget | undefined,
  clock: Clock.Clock
): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) => {
    const { maxHedges, state } = hedge
    const race = new Race<A, E>(isFinalFor(hedge), (ending) => {
      state.ended[ending]++
    })
    const begin = (self: Effect.Effect<A, E, R>) =>
      Effect.map(Effect.forkChild(self, { startImmediately: true }), (fiber) => race.join(fiber))

    const next = (left: number): Effect.Effect<A, E, R> => {
      if (race.decision !== undefined) return race.decision
      return Effect.flatMap(remainingMillis, (remaining) => {
        const delay = left > 0 ? state.delayMillis ?? Infinity : Infinity
        // An attempt that begins at the deadline helps nobody.
        return Effect.flatMap(decidedWithin(race, delay < remaining ? delay : Infinity, restore), () => {
          if (race.decision !== undefined) return race.decision
          if (budget === undefined || budget.withdraw()) return Effect.flatMap(begin(attempt), () => next(left - 1))
          state.withheld++
          return next(0)
        })
      })
    }
    const first = begin(timed(attempt, state, clock))
    return Effect.onExitPrimitive(Effect.flatMap(first, () => next(maxHedges)), () => race.close)
  })

/**
 * Begins a further attempt of `self` when those before have taken the policy's delay, up to `maxHedges` times. The first
 * answer wins; the others are interrupted, and their finalizers have run when the caller goes on. An attempt that fails
 * leaves it to the others, unless its error is final or a defect; when all have failed, the cause holds all their errors.
 *
 * `call` takes the place of the policy's own where calls differ. No hedge begins once the deadline in the fiber's context
 * has passed (see `Deadline`), and none that its retry budget can't pay for (see `RetryBudget`).
 */
export const hedge: {
  <E>(
    policy: Hedge<E>,
    call?: Repeatability
  ): <A, E2 extends E, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<A, E2, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, policy: Hedge<E>, call?: Repeatability): Effect.Effect<A, E, R>
} = dual(
  (args) => Effect.isEffect(args[0]),
  <A, E, R>(
    self: Effect.Effect<A, E, R>,
    policy: Hedge<E>,
    call: Repeatability = policy.call
  ): Effect.Effect<A, E, R> => {
    if (!mayRepeat(call)) return policy.state.calls.observe(self)
    return policy.state.calls.observe(Effect.withFiber((fiber) => {
      const { attempt, budget } = countRequest(fiber, self)
      const clock = fiber.getRef(Clock.Clock)
      return policy.state.delayMillis === undefined
        ? timed(attempt, policy.state, clock)
        : run(attempt, policy, budget, clock)
    }))
  }
)

const endings: ReadonlyArray<HedgeEnding> = ["won", "failed", "lost", "interrupted"]

const shown = (name: string, state: HedgeState): Effect.Effect<void, never, Scope.Scope> => {
  const attributes = { hedge: name }
  return show([
    ...state.calls.readings("hedge_calls", attributes),
    ...endings.map((ending): Reading => ({
      type: "Counter",
      id: "hedge_hedges_total",
      attributes: { ...attributes, ending },
      read: () => state.ended[ending]
    })),
    { type: "Counter", id: "hedge_withheld_total", attributes, read: () => state.withheld },
    { type: "Gauge", id: "hedge_delay_seconds", attributes, read: () => (state.delayMillis ?? 0) / 1_000 }
  ])
}

/** Checks the options; all that is wrong is in one error. The policy is shown in the metrics as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*<E>(options: HedgeOptions<E>): Effect.fn.Return<Hedge<E>, InvalidSettings, Scope.Scope> {
    const { after, maxHedges = 1, name } = options
    const { minimumCalls = 100, percentile = 1, window = 1_000 } = after._tag === "Percentile" ? after : {}
    const millis = Duration.toMillis(after._tag === "Fixed" ? after.delay : after.atLeast ?? 1)
    yield* checked(`The hedge "${name}"`, options, [
      wholeNumber("maxHedges", maxHedges, 1, 100),
      timeSpan(after._tag === "Fixed" ? "delay" : "atLeast", millis),
      share("percentile", percentile),
      wholeNumber("window", window, 10, 1_000_000),
      wholeNumber("minimumCalls", minimumCalls, 1, Math.max(1, window))
    ])
    const latencies = after._tag === "Fixed" ? undefined : new LatencyQuantile(percentile, window, minimumCalls)
    const state = new HedgeState(millis, latencies)
    yield* shown(name, state)
    return { name, after, call: options.call, maxHedges, isFinal: options.isFinal ?? (() => false), state }
  }
)
