/** A call behind a circuit in a store, which is asked before and told after. */
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../MonotonicTime.ts"
import * as CircuitCounters from "./CircuitCounters.ts"
import { outcomeOf, rejected, run as runHere } from "./CircuitRun.ts"
import type { CircuitOpen, Classify } from "./CircuitRun.ts"
import type { Outcome, Permit } from "./CircuitState.ts"
import type { SharedCircuits } from "./SharedCircuits.ts"

/** While the store is away the call goes behind this replica's own circuit. */
export const run = <A, E, R>(
  circuits: SharedCircuits,
  self: Effect.Effect<A, E, R>,
  key: string | undefined,
  classify: Classify<A, E>
): Effect.Effect<A, E | CircuitOpen, R> =>
  // Asking can't be interrupted, so that a permit which was given is always settled.
  Effect.uninterruptibleMask((restore) =>
    Effect.clockWith((clock): Effect.Effect<A, E | CircuitOpen, R> => {
      const { counters, settings } = circuits
      const here = restore(
        runHere(self, settings, (fiber) => circuits.here(key, fiber.getRef(Clock.Clock)), classify, key)
      )
      if (!circuits.isAsked(clock)) return here
      return Effect.matchEffect(circuits.step(key, { _tag: "Admit" }), {
        onFailure: () => here,
        onSuccess: ({ after, decision }): Effect.Effect<A, E | CircuitOpen, R> => {
          if (decision._tag === "Rejected") {
            counters.rejected++
            return rejected(settings.name, key, decision.retryAfterMillis)
          }
          if (decision._tag !== "Admitted" || after.state === "Disabled") return restore(self)
          counters.permits++
          return settled(circuits, restore(self), key, decision.permit, classify)
        }
      })
    })
  )

const settled = <A, E, R>(
  circuits: SharedCircuits,
  self: Effect.Effect<A, E, R>,
  key: string | undefined,
  permit: Permit,
  classify: Classify<A, E>
): Effect.Effect<A, E, R> =>
  Effect.clockWith((clock) => {
    const began = monotonicMillis(clock)
    return Effect.onExitPrimitive(self, (exit) => {
      // A classification that throws must not keep the permit; its defect then ends the call.
      let outcome: Outcome = "Ignored"
      try {
        outcome = outcomeOf(exit, classify)
      } catch (defect) {
        return Effect.andThen(settle(circuits, key, permit, outcome, 0), Effect.die(defect))
      }
      return settle(circuits, key, permit, outcome, monotonicMillis(clock) - began)
    })
  })

const settle = (
  circuits: SharedCircuits,
  key: string | undefined,
  permit: Permit,
  outcome: Outcome,
  tookMillis: number
): Effect.Effect<void> => {
  CircuitCounters.count(circuits.counters, outcome)
  return Effect.matchEffect(circuits.step(key, { _tag: "Settle", permit, outcome, tookMillis }), {
    onSuccess: ({ decision }) =>
      Effect.sync(() => {
        if (decision._tag === "Late") circuits.counters.late++
      }),
    onFailure: () =>
      Effect.sync(() => {
        circuits.unshared++
      })
  })
}
