/** Counts what came of the calls to a whole policy, as its callers see it. */
import { Effect } from "effect"
import type { Scope } from "effect"
import { CallOutcomes } from "../CallOutcomes.ts"
import { layer } from "../Policy.ts"
import type { Policy } from "../Policy.ts"
import { show } from "../PulledMetrics.ts"

/**
 * A layer that counts each call when it begins and when it ends, by policy and outcome, for as long as the scope lives:
 * meant to be the outermost, it counts requests; just outside a circuit it counts attempts.
 */
export const measured = Effect.fnUntraced(function*(name: string): Effect.fn.Return<Policy, never, Scope.Scope> {
  const calls = new CallOutcomes()
  yield* show(calls.readings("policy_calls", { policy: name }))
  return layer<never>({
    role: { kind: "Measure" },
    text: `measure "${name}"`,
    metrics: ["policy_calls_begun_total", "policy_calls_total"],
    wrap: (self) => calls.observe(self)
  })
})
