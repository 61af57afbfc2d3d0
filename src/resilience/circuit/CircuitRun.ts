import { Cause, Clock, Duration, Effect, Exit, Schema } from "effect"
import { isRejection, RejectionTypeId } from "../Rejection.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import type { Outcome } from "./CircuitState.ts"
import type { MemoryCircuit } from "./MemoryCircuit.ts"

/**
 * The circuit lets no call through now. After `retryAfter` it may: the open time has passed, or a probe's lease has.
 * Undefined while an operator holds the circuit open.
 */
export class CircuitOpen extends Schema.TaggedError<CircuitOpen>()("CircuitOpen", {
  breaker: Schema.String,
  key: Schema.UndefinedOr(Schema.String),
  retryAfter: Schema.UndefinedOr(Schema.Duration)
}) {
  readonly [RejectionTypeId] = true
  override get message() {
    const circuit = this.key === undefined ? this.breaker : `${this.breaker} (${this.key})`
    return this.retryAfter === undefined
      ? `The circuit ${circuit} is held open`
      : `The circuit ${circuit} is open: try again in ${Duration.format(this.retryAfter)}`
  }
}

/** How a call that ended counts. Interruption never reaches it: that always gives the permit back. */
export type Classify<A, E> = (exit: Exit.Exit<A, E>) => Exclude<Outcome, "Interrupted">

/**
 * The classification unless told otherwise: a success is one; a refusal by an inner policy is ignored; every other
 * error, and every defect, is a failure.
 */
export const classifyByDefault = (exit: Exit.Exit<unknown, unknown>): Exclude<Outcome, "Interrupted"> =>
  Exit.isSuccess(exit)
    ? "Success"
    : exit.cause.reasons.every((reason) =>
        reason._tag !== "Die" && !(reason._tag === "Fail" && !isRejection(reason.error))
      )
    ? "Ignored"
    : "Failure"

/** A classification by which the errors that `isCallersFault` knows count neither way. */
export const ignoring = <E>(isCallersFault: (error: E) => boolean): Classify<unknown, E> => (exit) => {
  if (Exit.isSuccess(exit)) return "Success"
  const counts = exit.cause.reasons.some((reason) =>
    reason._tag === "Die" || (reason._tag === "Fail" && !isRejection(reason.error) && !isCallersFault(reason.error))
  )
  return counts ? "Failure" : "Ignored"
}

const rejected = (breaker: string, key: string | undefined, retryAfterMillis: number | undefined) =>
  Effect.fail(
    new CircuitOpen({
      breaker,
      key,
      retryAfter: retryAfterMillis === undefined ? undefined : Duration.millis(retryAfterMillis)
    })
  )

const outcomeOf = <A, E>(exit: Exit.Exit<A, E>, classify: Classify<A, E>): Outcome =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? "Interrupted" : classify(exit)

/**
 * Runs `self` in the circuit that `circuitNow` finds when the call starts. No interruption can come between the permit
 * and the finalizer that settles it; and there is no generator, since every call pays for it.
 */
export const run = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  settings: CircuitSettings,
  circuitNow: (clock: Clock.Clock) => MemoryCircuit,
  classify: Classify<A, E>
): Effect.Effect<A, E | CircuitOpen, R> =>
  Effect.withFiber((fiber) => {
    const clock = fiber.getRef(Clock.Clock)
    return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | CircuitOpen, R> => {
      const circuit = circuitNow(clock)
      let startedAt = 0
      // While closed, only slow calls need to know when they started.
      let permit = settings.slowAfterMillis === Infinity ? circuit.admitClosed() : undefined
      if (permit === undefined) {
        if (circuit.isDisabled) return restore(self)
        startedAt = circuit.now(clock)
        const admission = circuit.admit(startedAt)
        if (admission._tag === "Rejected") return rejected(settings.name, circuit.key, admission.retryAfterMillis)
        permit = admission.permit
      }
      return Effect.onExitPrimitive(restore(self), (exit) => {
        // A classification that throws must not keep the permit; its defect then ends the call.
        let outcome: Outcome = "Ignored"
        try {
          outcome = outcomeOf(exit, classify)
        } finally {
          if (outcome !== "Success" || !circuit.settleSteady(permit)) {
            circuit.settle(permit, outcome, startedAt, circuit.now(clock))
          }
        }
        return undefined
      })
    })
  })
