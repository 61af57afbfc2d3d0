/** Counts what came of the calls to a whole policy, as its callers see it. */
import { Cause, Effect, Exit } from "effect"
import type { Scope } from "effect"
import { layer } from "../Policy.ts"
import type { Policy } from "../Policy.ts"
import { show } from "../PulledMetrics.ts"
import { isRejection } from "../Rejection.ts"

const outcomes = ["succeeded", "failed", "rejected", "interrupted"] as const
type Outcome = typeof outcomes[number]

/** A call is rejected if policies refused it and nothing else went wrong. */
const outcomeOf = (exit: Exit.Exit<unknown, unknown>): Outcome => {
  if (Exit.isSuccess(exit)) return "succeeded"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const isRefused = exit.cause.reasons.every((reason) => reason._tag === "Fail" && isRejection(reason.error))
  return isRefused ? "rejected" : "failed"
}

/**
 * A layer that counts each call once, when it ends: in `policy_calls_total`, by policy and outcome, for as long as the
 * scope lives. Meant to be the outermost.
 */
export const measured = Effect.fnUntraced(function*(name: string): Effect.fn.Return<Policy, never, Scope.Scope> {
  const counts: Record<Outcome, number> = { succeeded: 0, failed: 0, rejected: 0, interrupted: 0 }
  yield* show(outcomes.map((outcome) => ({
    type: "Counter",
    id: "policy_calls_total",
    attributes: { policy: name, outcome },
    read: () => counts[outcome]
  })))
  const count = (exit: Exit.Exit<unknown, unknown>) => {
    counts[outcomeOf(exit)]++
    return undefined
  }
  return layer<never>({
    role: { kind: "Measure" },
    text: `"${name}"`,
    metrics: ["policy_calls_total"],
    wrap: (self) => Effect.onExitPrimitive(self, count)
  })
})
