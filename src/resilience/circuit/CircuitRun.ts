import { Cause, Clock, Duration, Effect, Exit, Schema } from "effect"
import type { Fiber } from "effect"
import { isRejection, RejectionTypeId } from "../Rejection.ts"
import type { CircuitSettings } from "./CircuitSettings.ts"
import type { Outcome, Permit } from "./CircuitState.ts"
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

export const rejected = (breaker: string, key: string | undefined, retryAfterMillis: number | undefined) =>
  Effect.fail(
    new CircuitOpen({
      breaker,
      key,
      retryAfter: retryAfterMillis === undefined ? undefined : Duration.millis(retryAfterMillis)
    })
  )

export const outcomeOf = <A, E>(exit: Exit.Exit<A, E>, classify: Classify<A, E>): Outcome =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? "Interrupted" : classify(exit)

/** Settles a call that ended. A classification that throws must not keep the permit; its defect then ends the call. */
const settle = <A, E>(
  circuit: MemoryCircuit,
  permit: Permit,
  classify: Classify<A, E>,
  exit: Exit.Exit<A, E>,
  startedAt: number,
  fiber: Fiber.Fiber<unknown, unknown>
): void => {
  let outcome: Outcome = "Ignored"
  try {
    outcome = outcomeOf(exit, classify)
  } finally {
    if (outcome !== "Success" || !circuit.settleSteady(permit)) {
      circuit.settle(permit, outcome, startedAt, circuit.now(fiber.getRef(Clock.Clock)))
    }
  }
}

/**
 * A closed circuit that counts no slow calls: all it needs to know is under which generation the call began. So there
 * is nothing to give back if the call is interrupted before its finalizer is in place, and no need to prevent that.
 */
const runClosed = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  circuit: MemoryCircuit,
  permit: Permit,
  classify: Classify<A, E>,
  fiber: Fiber.Fiber<unknown, unknown>
): Effect.Effect<A, E, R> =>
  Effect.onExitPrimitive(self, (exit) => {
    circuit.countClosed()
    settle(circuit, permit, classify, exit, 0, fiber)
    return undefined
  })

/** No interruption can come between the permit and the finalizer that settles it. */
const runPermitted = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  settings: CircuitSettings,
  circuit: MemoryCircuit,
  classify: Classify<A, E>,
  fiber: Fiber.Fiber<unknown, unknown>,
  key: string | undefined
): Effect.Effect<A, E | CircuitOpen, R> =>
  Effect.uninterruptibleMask((restore): Effect.Effect<A, E | CircuitOpen, R> => {
    if (circuit.isDisabled) return restore(self)
    const startedAt = circuit.now(fiber.getRef(Clock.Clock))
    const admission = circuit.admit(startedAt)
    if (admission._tag === "Rejected") return rejected(settings.name, key, admission.retryAfterMillis)
    return Effect.onExitPrimitive(restore(self), (exit) => {
      settle(circuit, admission.permit, classify, exit, startedAt, fiber)
      return undefined
    })
  })

/** Runs `self` in the circuit that `circuitNow` finds when the call starts. Every call pays for it: no generators. */
export const run = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  settings: CircuitSettings,
  circuitNow: (fiber: Fiber.Fiber<unknown, unknown>) => MemoryCircuit,
  classify: Classify<A, E>,
  /** The key that errors name, where it is not the circuit's own. */
  key?: string
): Effect.Effect<A, E | CircuitOpen, R> =>
  Effect.withFiber((fiber): Effect.Effect<A, E | CircuitOpen, R> => {
    const circuit = circuitNow(fiber)
    const permit = settings.slowAfterMillis === Infinity ? circuit.closedPermit : undefined
    return permit === undefined
      ? runPermitted(self, settings, circuit, classify, fiber, key ?? circuit.key)
      : runClosed(self, circuit, permit, classify, fiber)
  })
