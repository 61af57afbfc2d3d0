/**
 * A retry budget: retries are a share of the requests, so that they can't become most of the load on something that
 * fails. It lies in the fiber's context, and all retries below take from the same one; a request counts once, however
 * many layers retry it, so layers can't multiply. The idea is that of Finagle's RetryBudget and gRPC's retry throttling.
 */
import { Context, Effect } from "effect"
import type { Fiber } from "effect"
import { dual } from "effect/Function"
import { checked, finiteNumber, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"

export interface RetryBudgetOptions {
  /** Retries for each request, in (0, 10]. */
  readonly ratio: number
  /** Retries there are before any request. */
  readonly floor: number
  /** Retries saved up at most, so that quiet times don't pay for a storm. Default `floor` + 100. */
  readonly capacity?: number | undefined
}

/** A retry, in the parts that balances are kept in: whole numbers, so that no rounding mints one. */
const retryCost = 1_000_000

export class RetryBudget {
  /** Retries for each request. */
  readonly ratio: number
  /** Retries saved up at most. */
  readonly capacity: number
  readonly #deposit: number
  readonly #capacity: number
  #balance: number

  constructor(options: { readonly ratio: number; readonly floor: number; readonly capacity: number }) {
    this.ratio = options.ratio
    this.capacity = options.capacity
    this.#deposit = Math.floor(options.ratio * retryCost)
    this.#capacity = options.capacity * retryCost
    this.#balance = Math.min(options.floor, options.capacity) * retryCost
  }

  /** Whole retries that could be made now. */
  get retries(): number {
    return Math.floor(this.#balance / retryCost)
  }

  /** A request was made. */
  deposit(): void {
    this.#balance = Math.min(this.#capacity, this.#balance + this.#deposit)
  }

  /** Pays for a retry, if there is one left. */
  withdraw(): boolean {
    if (this.#balance < retryCost) return false
    this.#balance -= retryCost
    return true
  }
}

/** The budget of the retries that run in this fiber's context. */
export const CurrentRetryBudget = Context.Reference<RetryBudget | undefined>("maas/resilience/RetryBudget", {
  defaultValue: () => undefined
})

/** The budget that the request under way was counted in. */
const CountedIn = Context.Reference<RetryBudget | undefined>("maas/resilience/RetryBudget/CountedIn", {
  defaultValue: () => undefined
})

/**
 * Counts the request that `self` is the first attempt of in the fiber's budget, unless an outer layer did. The answer is
 * what to attempt instead of `self`, so that inner layers know, and the budget that further attempts take from.
 */
export const countRequest = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  self: Effect.Effect<A, E, R>
): { readonly attempt: Effect.Effect<A, E, R>; readonly budget: RetryBudget | undefined } => {
  const budget = fiber.getRef(CurrentRetryBudget)
  const isCounted = budget === undefined || fiber.getRef(CountedIn) === budget
  if (isCounted) return { attempt: self, budget }
  budget.deposit()
  return { attempt: Effect.provideService(self, CountedIn, budget), budget }
}

export const make = (options: RetryBudgetOptions): Effect.Effect<RetryBudget, InvalidSettings> => {
  const { floor, ratio, capacity = floor + 100 } = options
  return Effect.map(
    checked("The retry budget", { ratio, floor, capacity }, [
      ratio > 0 ? finiteNumber("ratio", ratio, 0, 10) : `ratio must be more than 0, not ${ratio}`,
      wholeNumber("floor", floor, 0, 1_000_000),
      wholeNumber("capacity", capacity, 1, 1_000_000)
    ]),
    (settings) => new RetryBudget(settings)
  )
}

/** All retries within `self` share the budget. */
export const withRetryBudget: {
  (budget: RetryBudget): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, budget: RetryBudget): Effect.Effect<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, budget: RetryBudget): Effect.Effect<A, E, R> =>
    Effect.provideService(self, CurrentRetryBudget, budget)
)
