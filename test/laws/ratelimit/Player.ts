/** What the laws of decisions are put to: a pure core, or a store. */
import { Context, Effect, Layer } from "effect"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import type { Decision } from "../../../src/resilience/ratelimit/Decision.ts"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import type { Entry } from "./Reference.ts"

export interface Asked extends Entry {
  readonly policy: RateLimitPolicy
}

/** A call, with what was decided and what had been admitted before it. */
export interface Decided extends Asked {
  readonly decision: Decision
  readonly history: ReadonlyArray<Asked>
}

export class Player extends Context.Service<Player, {
  /** Makes the calls one after the other, each at its own time, on a key that was never used before. */
  readonly play: (calls: ReadonlyArray<Asked>) => Effect.Effect<ReadonlyArray<Decision>>
}>()("maas/test/laws/ratelimit/Player") {}

const decide = (calls: ReadonlyArray<Asked>): ReadonlyArray<Decision> => {
  let state: LimitState | undefined
  return calls.map(({ at, cost, policy }) => {
    const step = Core.decide(policy, state, cost, at)
    state = step.state
    return step.decision
  })
}

export const ofCore = Layer.succeed(Player, { play: (calls) => Effect.sync(() => decide(calls)) })

export const play = (calls: ReadonlyArray<Asked>): Effect.Effect<ReadonlyArray<Decided>, never, Player> =>
  Effect.map(Player.use((player) => player.play(calls)), (decisions) => {
    const admitted: Array<Asked> = []
    return calls.map((call, index) => {
      const decision = decisions[index] ?? { _tag: "Impossible", capacity: 0 }
      const decided = { ...call, decision, history: admitted.slice() }
      if (decision._tag === "Admitted") admitted.push(call)
      return decided
    })
  })

export const under = (policy: RateLimitPolicy, entries: ReadonlyArray<Entry>): ReadonlyArray<Asked> =>
  entries.map((entry) => ({ ...entry, policy }))

export const admittedOf = (decided: ReadonlyArray<Decided>): ReadonlyArray<Decided> =>
  decided.filter(({ decision }) => decision._tag === "Admitted")
