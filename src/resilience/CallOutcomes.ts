/** How the calls through a policy ended. Every call that began ends exactly once, in one of four ways. */
import { Cause, Effect, Exit } from "effect"
import type { Reading } from "./PulledMetrics.ts"
import { isRejection } from "./Rejection.ts"

/** Rejected: a policy, this one or an inner one, refused the call, so that nothing ran. */
export type CallOutcome = "succeeded" | "failed" | "rejected" | "interrupted"

const outcomes: ReadonlyArray<CallOutcome> = ["succeeded", "failed", "rejected", "interrupted"]

export const outcomeOf = (exit: Exit.Exit<unknown, unknown>): CallOutcome => {
  if (Exit.isSuccess(exit)) return "succeeded"
  if (Cause.hasInterruptsOnly(exit.cause)) return "interrupted"
  const errors = exit.cause.reasons.filter(Cause.isFailReason)
  return errors.length > 0 && !Cause.hasDies(exit.cause) && errors.every(({ error }) => isRejection(error))
    ? "rejected"
    : "failed"
}

/** Counts in plain numbers: a counter of the metric registry costs more than most policies' whole decision. */
export class CallOutcomes {
  #begun = 0
  readonly #ended: Record<CallOutcome, number> = { succeeded: 0, failed: 0, rejected: 0, interrupted: 0 }

  get begun(): number {
    return this.#begun
  }

  count(outcome: CallOutcome): number {
    return this.#ended[outcome]
  }

  begin(): void {
    this.#begun++
  }

  end(outcome: CallOutcome): void {
    this.#ended[outcome]++
  }

  /** Counts `self` as a call, however it ends. */
  observe<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    // Nothing can come between the count of the beginning and the finalizer that counts the end.
    return Effect.uninterruptibleMask((restore) => {
      this.begin()
      return Effect.onExitPrimitive(restore(self), (exit) => {
        this.end(outcomeOf(exit))
        return undefined
      })
    })
  }

  /** `<prefix>_begun_total`, and `<prefix>_total` by outcome: once nothing runs, the outcomes add up to the begun. */
  readings(prefix: string, attributes: Readonly<Record<string, string>>): ReadonlyArray<Reading> {
    return [
      { type: "Counter", id: `${prefix}_begun_total`, attributes, read: () => this.#begun },
      ...outcomes.map((outcome): Reading => ({
        type: "Counter",
        id: `${prefix}_total`,
        attributes: { ...attributes, outcome },
        read: () => this.#ended[outcome]
      }))
    ]
  }
}
