/** Takes from the store at once, or waits in order until it can be taken. */
import { Clock, Duration, Effect, Exit, Option } from "effect"
import { Cost } from "../RateLimiterStore.ts"
import type { Demand, Take } from "../RateLimiterStore.ts"
import type { Left } from "./Decision.ts"
import { isPossible } from "./Decision.ts"
import type { LimiterEvents } from "./LimiterEvents.ts"
import type { RateLimitPolicy } from "./Policy.ts"
import { ImpossibleCost, RateLimited } from "./RateLimitErrors.ts"
import type { Quota, RefusalReason } from "./RateLimitErrors.ts"
import type { Enforced, EnforcedBy, StoreGuard } from "./StoreGuard.ts"
import type { Place, WaitingLines } from "./WaitingLine.ts"

/** One policy that a call falls under: `cost` (1 when not given) for `key`. */
export interface Limit {
  readonly policy: RateLimitPolicy
  readonly key: string
  readonly cost?: Cost | undefined
}

/** All of them are taken, or none. */
export type Limits = Limit | ReadonlyArray<Limit>

export interface Allowed {
  readonly _tag: "Allowed"
  /** `nothing` when the store is away and the policies fail open. */
  readonly by: EnforcedBy
  readonly quotas: ReadonlyArray<Quota>
}

export interface Denied {
  readonly _tag: "Denied"
  readonly reason: RefusalReason
  /** The name of the policy that must be waited for longest. */
  readonly policy: string
  readonly retryAfterMillis: number
  readonly quotas: ReadonlyArray<Quota>
}

/** What a call holds until its real cost is known. */
export interface Permit extends Allowed {
  /**
   * Sets what was taken to the actual cost, of each limit by a function or of all by a number; 0 gives all back. Only
   * the first time counts.
   */
  readonly settle: (actual: Cost | 0 | ((limit: Limit) => Cost | 0)) => Effect.Effect<void>
}

type Demands = ReadonlyArray<Demand>
type Taken = Extract<Enforced, { readonly _tag: "Taken" }>

export class Limiter {
  readonly #guard: StoreGuard
  readonly #atOnce: Take["atOnce"]
  readonly #lines: WaitingLines
  readonly #events: LimiterEvents

  constructor(guard: StoreGuard, lines: WaitingLines, events: LimiterEvents) {
    this.#guard = guard
    this.#atOnce = guard.atOnce
    this.#lines = lines
    this.#events = events
  }

  tryAcquire(limits: Limits): Effect.Effect<Allowed | Denied, ImpossibleCost> {
    const atOnce = this.#atOnce
    if (atOnce !== undefined && !isMany(limits) && isPossible(limits.cost ?? one, limits.policy.capacity)) {
      return Effect.sync(() => this.#tryOne(limits, atOnce))
    }
    return Effect.suspend(() => {
      const demands = demandsOf(limits)
      const impossible = this.#impossible(demands)
      if (impossible !== undefined) return Effect.fail(impossible)
      return Effect.map(
        this.#guard.take(demands),
        (enforced) => enforced._tag === "Taken" ? this.#allowed(demands, enforced) : this.#denied(demands, enforced)
      )
    })
  }

  /** One limit in a store that decides at once: no lists, and no effect but the answer. */
  #tryOne({ cost = one, key, policy }: Limit, atOnce: NonNullable<Take["atOnce"]>): Allowed | Denied {
    const decision = atOnce(policy, key, cost)
    const quotas = [quotaOf(policy, decision)]
    if (decision._tag === "Admitted") {
      this.#events.allowedOne(policy, key, cost, decision)
      return { _tag: "Allowed", by: "store", quotas }
    }
    const retryAfterMillis = Math.max(1, decision.retryAfterMillis)
    this.#events.denied([{ policy, key, cost }], "LimitReached", policy.name, retryAfterMillis)
    return { _tag: "Denied", reason: "LimitReached", policy: policy.name, retryAfterMillis, quotas }
  }

  /**
   * Runs `body` with a permit. An interruption before `body` has begun gives back the place in the line and whatever was
   * taken; once it has begun, what was taken stays taken.
   */
  use<A, E, R>(
    limits: Limits,
    within: Duration.Input,
    body: (permit: Permit) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | RateLimited | ImpossibleCost, R> {
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | RateLimited | ImpossibleCost, R> => {
      const demands = demandsOf(limits)
      const impossible = this.#impossible(demands)
      if (impossible !== undefined) return Effect.fail(impossible)
      const withinMillis = Duration.toMillis(Duration.fromInputUnsafe(within))
      return Effect.flatMap(
        this.#wait(demands, withinMillis, restore),
        (attempt): Effect.Effect<A, E | RateLimited | ImpossibleCost, R> => {
          if (attempt._tag === "Denied") return Effect.fail(errorOf(attempt))
          let begun = false
          const settle = this.#settle(attempt)
          return restore(Effect.suspend(() => {
            begun = true
            return body({ ...this.#allowed(demands, attempt), settle })
          })).pipe(Effect.onInterrupt(() => {
            if (begun) return Effect.void
            this.#events.interrupted(demands)
            return settle(0)
          }))
        }
      )
    })
  }

  #wait(
    demands: Demands,
    withinMillis: number,
    restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  ): Effect.Effect<Denied | Taken> {
    return Effect.suspend(() => {
      const place = this.#lines.join(lineOf(demands))
      if (place === undefined) return Effect.succeed(this.#turnedAway(demands, "QueueFull"))
      return this.#serve(demands, withinMillis, place, restore).pipe(
        Effect.onExit((exit) => {
          if (Exit.hasInterrupts(exit)) this.#events.interrupted(demands)
          return place.leave
        })
      )
    })
  }

  readonly #serve = Effect.fnUntraced({ self: this }, function*(
    demands: Demands,
    withinMillis: number,
    place: Place,
    restore: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  ) {
    const deadline = (yield* monotonicMillis) + withinMillis
    if (!place.isFirst()) {
      const turn = yield* restore(Effect.timeoutOption(place.turn, withinMillis))
      if (Option.isNone(turn)) return this.#turnedAway(demands, "WaitedTooLong")
    }
    while (true) {
      const enforced = yield* this.#guard.take(demands)
      if (enforced._tag === "Taken") return enforced
      const { retryAfterMillis } = enforced
      if ((yield* monotonicMillis) + retryAfterMillis > deadline) return this.#denied(demands, enforced)
      yield* restore(Effect.sleep(retryAfterMillis))
    }
  })

  #settle({ by, counted, grants }: Taken): Permit["settle"] {
    let isSettled = false
    return (actual) =>
      Effect.suspend(() => {
        if (isSettled) return Effect.void
        isSettled = true
        const settlements = grants.flatMap((grant, index) => {
          const demand = counted[index]
          if (demand === undefined) return []
          return [{ demand, grant, actual: typeof actual === "function" ? actual(demand) : actual }]
        })
        return this.#guard.settle(by, settlements).pipe(
          Effect.match({
            onSuccess: () => this.#events.publish({ _tag: "Settled", by, settlements }),
            onFailure: () => this.#events.publish({ _tag: "SettlementLost", settlements })
          })
        )
      })
  }

  #impossible(demands: Demands): ImpossibleCost | undefined {
    for (const { cost, policy } of demands) {
      if (isPossible(cost, policy.capacity)) continue
      this.#events.impossible(demands, policy.name)
      return new ImpossibleCost({ policy: policy.name, cost, capacity: policy.capacity })
    }
    return undefined
  }

  #allowed(demands: Demands, { by, counted, grants }: Taken): Allowed {
    this.#events.allowed(demands, by, counted, grants)
    return { _tag: "Allowed", by, quotas: quotasOf(counted, grants) }
  }

  #denied(demands: Demands, refused: Exclude<Enforced, Taken>): Denied {
    const { policy, retryAfterMillis } = refused
    const reason = refused._tag === "NotTaken" ? "LimitReached" : "StoreLost"
    const quotas = refused._tag === "NotTaken" ? quotasOf(refused.counted, refused.left) : []
    this.#events.denied(demands, reason, policy, retryAfterMillis)
    return { _tag: "Denied", reason, policy, retryAfterMillis, quotas }
  }

  /** Refused for the line's sake; a policy's window is the time after which it is sure to have moved. */
  #turnedAway(demands: Demands, reason: "QueueFull" | "WaitedTooLong"): Denied {
    const policy = demands[0]?.policy
    const denied: Denied = {
      _tag: "Denied",
      reason,
      policy: policy?.name ?? "",
      retryAfterMillis: policy?.windowMillis ?? 0,
      quotas: []
    }
    this.#events.denied(demands, reason, denied.policy, denied.retryAfterMillis)
    return denied
  }
}

const monotonicMillis = Effect.map(Clock.monotonicTimeNanos, (nanos) => Number(nanos) / 1_000_000)

const one = Cost.make(1)

/** Limits of the same policy and key count together. */
const demandsOf = (limits: Limits): Demands => {
  if (!isMany(limits)) return [{ policy: limits.policy, key: limits.key, cost: limits.cost ?? one }]
  const demands = new Map<string, Demand>()
  for (const { cost = one, key, policy } of limits) {
    const name = nameOf(policy, key)
    const before = demands.get(name)
    demands.set(name, { policy, key, cost: before === undefined ? cost : sum(before.cost, cost) })
  }
  return [...demands.values()]
}

const isMany = (limits: Limits): limits is ReadonlyArray<Limit> => Array.isArray(limits)

/** Not checked: a sum that is no cost is refused as impossible. */
const sum = (a: Cost, b: Cost): Cost => Cost.make(a + b, { disableChecks: true })

const nameOf = (policy: RateLimitPolicy, key: string): string => `${policy.name}/${key}`

/** Who waits for the same limits waits in the same line. */
const lineOf = (demands: Demands): string =>
  demands.length === 1 && demands[0] !== undefined
    ? nameOf(demands[0].policy, demands[0].key)
    : JSON.stringify(demands.map(({ key, policy }) => nameOf(policy, key)))

const quotaOf = (policy: RateLimitPolicy, left: Left | undefined): Quota => ({
  policy: policy.name,
  quota: policy.capacity,
  windowMillis: policy.refillMillis,
  remaining: left?.remaining ?? 0,
  resetMillis: left?.resetMillis ?? 0
})

const quotasOf = (counted: Demands, left: ReadonlyArray<Left>): ReadonlyArray<Quota> =>
  counted.map(({ policy }, index) => quotaOf(policy, left[index]))

export const errorOf = ({ policy, quotas, reason, retryAfterMillis }: Denied): RateLimited =>
  new RateLimited({ reason, policy, retryAfter: Duration.millis(retryAfterMillis), quotas })
