import type { Demand, Outcome, Settlement } from "../RateLimiterStore.ts"
import * as Core from "./Core.ts"
import type { Admitted, Left, Refused } from "./Decision.ts"
import { MemoryTable } from "./MemoryTable.ts"
import type { RateLimitPolicy } from "./Policy.ts"

/** The store without Effect: every operation is synchronous, hence atomic. Times are whole milliseconds. */
export class MemoryStore {
  readonly #tables = new Map<string, MemoryTable>()
  #latest: MemoryTable | undefined
  readonly #maxKeys: number

  constructor(maxKeys: number) {
    this.#maxKeys = maxKeys
  }

  /** How many keys are held, over all policies. */
  get size(): number {
    let size = 0
    for (const table of this.#tables.values()) size += table.size
    return size
  }

  /** Takes one demand alone; its cost must be possible. */
  takeOne(policy: RateLimitPolicy, key: string, cost: number, now: number): Admitted | Refused {
    const table = this.#table(policy, now)
    const own = table.resolve(key, now)
    const stored = table.get(own)
    const { decision, state } = Core.decide(policy, stored, cost, now)
    // Only a changed policy or a clock that was set back changes the state of a refused key.
    if (state !== stored) table.set(own, state)
    if (decision._tag === "Impossible") throw new RangeError(`A cost of ${cost} is never admitted by ${policy.name}`)
    return decision
  }

  take(demands: ReadonlyArray<Demand>, now: number): Outcome {
    const steps = demands.map(({ cost, key, policy }) => {
      const table = this.#table(policy, now)
      const own = table.resolve(key, now)
      const stored = table.get(own)
      return { table, own, stored, policy, step: Core.decide(policy, stored, cost, now) }
    })
    const grants: Array<Admitted> = []
    for (const { step: { decision } } of steps) if (decision._tag === "Admitted") grants.push(decision)
    if (grants.length === steps.length) {
      for (const { own, step, table } of steps) table.set(own, step.state)
      return { _tag: "Taken", grants }
    }

    let retryAfterMillis = 0
    let refusedBy = 0
    const left = steps.map(({ own, policy, step: { decision, state }, stored, table }, index): Left => {
      if (decision._tag !== "Refused") return Core.inspect(policy, stored, now)
      if (state !== stored) table.set(own, state)
      if (decision.retryAfterMillis > retryAfterMillis) {
        retryAfterMillis = decision.retryAfterMillis
        refusedBy = index
      }
      return decision
    })
    return { _tag: "NotTaken", left, retryAfterMillis, refusedBy }
  }

  settle(settlements: ReadonlyArray<Settlement>, now: number): void {
    for (const { actual, demand: { cost, key, policy }, grant } of settlements) {
      const table = this.#table(policy, now)
      const own = table.resolve(key, now)
      const stored = table.get(own)
      const state = Core.settle(policy, stored, grant, actual - cost, now)
      if (state !== stored) table.set(own, state)
    }
  }

  inspect(demands: ReadonlyArray<Pick<Demand, "policy" | "key">>, now: number): ReadonlyArray<Left> {
    return demands.map(({ key, policy }) => {
      const table = this.#table(policy, now)
      return Core.inspect(policy, table.get(table.resolve(key, now)), now)
    })
  }

  forget(policy: RateLimitPolicy, key: string): void {
    this.#tables.get(policy.name)?.delete(key)
  }

  sweep(now: number): void {
    for (const table of this.#tables.values()) table.sweep(now)
  }

  #table(policy: RateLimitPolicy, now: number): MemoryTable {
    const table = this.#latest?.policy === policy.name ? this.#latest : this.#tableOf(policy.name)
    this.#latest = table
    table.turn(policy, now)
    return table
  }

  #tableOf(policy: string): MemoryTable {
    let table = this.#tables.get(policy)
    if (table === undefined) {
      table = new MemoryTable(policy, this.#maxKeys)
      this.#tables.set(policy, table)
    }
    return table
  }
}
