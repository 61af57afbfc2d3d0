/** Asks the store, and says what holds when it gives no answer. */
import { Clock, Effect } from "effect"
import type { Demand, Outcome, RateLimiterStore, RateLimiterStoreLost, Settlement, Take } from "../RateLimiterStore.ts"
import type { Admitted, Left } from "./Decision.ts"
import type { MemoryStore } from "./MemoryStore.ts"

/** Who counted: the store, this process alone, or nobody. */
export type EnforcedBy = "store" | "local" | "nothing"

/** An outcome and who stands behind it. `counted` are the demands that its lists speak of. */
export type Enforced =
  | {
    readonly _tag: "Taken"
    readonly by: EnforcedBy
    readonly counted: ReadonlyArray<Demand>
    readonly grants: ReadonlyArray<Admitted>
  }
  | {
    readonly _tag: "NotTaken"
    readonly counted: ReadonlyArray<Demand>
    readonly left: ReadonlyArray<Left>
    readonly policy: string
    readonly retryAfterMillis: number
  }
  /** `policy` cannot be counted, and may not be exceeded. */
  | { readonly _tag: "StoreLost"; readonly policy: string; readonly retryAfterMillis: number }

const enforce = (by: EnforcedBy, counted: ReadonlyArray<Demand>, outcome: Outcome): Enforced =>
  outcome._tag === "Taken"
    ? { _tag: "Taken", by, counted, grants: outcome.grants }
    : {
      _tag: "NotTaken",
      counted,
      left: outcome.left,
      policy: counted[outcome.refusedBy]?.policy.name ?? "",
      retryAfterMillis: Math.max(1, outcome.retryAfterMillis)
    }

/**
 * After a failure the store is left alone for `retryMillis`, then one call asks again while the others go on without it:
 * a store that hangs delays one call a period and no more.
 */
export class StoreGuard {
  readonly #store: RateLimiterStore["Service"]
  readonly #local: MemoryStore
  readonly #retryMillis: number
  readonly #onChange: (isLost: boolean) => void
  #lostUntil: number | undefined

  constructor(options: {
    readonly store: RateLimiterStore["Service"]
    /** What counts for policies that are `local`. */
    readonly local: MemoryStore
    readonly retryMillis: number
    readonly onChange: (isLost: boolean) => void
  }) {
    this.#store = options.store
    this.#local = options.local
    this.#retryMillis = options.retryMillis
    this.#onChange = options.onChange
  }

  /** A store that decides at once is never lost, so there is nothing to guard. */
  get atOnce(): Take["atOnce"] {
    return this.#store.take.atOnce
  }

  get isLost(): boolean {
    return this.#lostUntil !== undefined
  }

  take(demands: ReadonlyArray<Demand>): Effect.Effect<Enforced> {
    if (this.#lostUntil === undefined) return this.#ask(demands)
    return Clock.clockWith((clock) => {
      const now = Math.floor(clock.currentTimeMillisUnsafe())
      const wait = (this.#lostUntil ?? now) - now
      // A clock that was set back must not keep the store waiting.
      if (wait > 0 && wait <= this.#retryMillis) return Effect.succeed(this.#without(demands, now))
      this.#lostUntil = now + this.#retryMillis
      return this.#ask(demands)
    })
  }

  /** What the store is not told because it is away stays charged: never too much is admitted for it. */
  settle(by: EnforcedBy, settlements: ReadonlyArray<Settlement>): Effect.Effect<void, RateLimiterStoreLost> {
    if (by === "store") return this.#store.settle(settlements)
    return Clock.clockWith((clock) =>
      Effect.sync(() => this.#local.settle(settlements, Math.floor(clock.currentTimeMillisUnsafe())))
    )
  }

  #ask(demands: ReadonlyArray<Demand>): Effect.Effect<Enforced> {
    return Effect.matchEffect(this.#store.take(demands), {
      onSuccess: (outcome) => {
        if (this.#lostUntil !== undefined) {
          this.#lostUntil = undefined
          this.#onChange(false)
        }
        return Effect.succeed(enforce("store", demands, outcome))
      },
      onFailure: () =>
        Clock.clockWith((clock) => {
          const now = Math.floor(clock.currentTimeMillisUnsafe())
          const wasLost = this.isLost
          this.#lostUntil = now + this.#retryMillis
          if (!wasLost) this.#onChange(true)
          return Effect.succeed(this.#without(demands, now))
        })
    })
  }

  #without(demands: ReadonlyArray<Demand>, now: number): Enforced {
    const retryAfterMillis = Math.max(1, (this.#lostUntil ?? now) - now)
    const closed = demands.find(({ policy }) => policy.onStoreLost === "failClosed")
    if (closed !== undefined) return { _tag: "StoreLost", policy: closed.policy.name, retryAfterMillis }
    const counted = demands
      .filter(({ policy }) => policy.onStoreLost === "local")
      .map((demand) => ({ ...demand, policy: demand.policy.local }))
    if (counted.length === 0) return { _tag: "Taken", by: "nothing", counted, grants: [] }
    const tooLarge = counted.find(({ cost, policy }) => cost > policy.capacity)
    return tooLarge === undefined
      ? enforce("local", counted, this.#local.take(counted, now))
      : { _tag: "StoreLost", policy: tooLarge.policy.name, retryAfterMillis }
  }
}
