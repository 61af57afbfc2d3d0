/**
 * A deadline: the moment by which the whole request must be answered, known to every part of it. It lies in the fiber's
 * context, and goes to other programs in a header.
 */
import { Clock, Context, Duration, Effect, Schema } from "effect"
import { dual } from "effect/Function"
import { interruptAfter } from "./Timeout.ts"

/** The deadline passed; what was running has been interrupted, and its finalizers have run. */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>()("DeadlineExceeded", {}) {
  override get message() {
    return "The deadline of the request passed"
  }
}

/** The deadline in milliseconds since the epoch, by the fiber's own clock; infinite where there is none. */
const Current = Context.Reference<number>("maas/resilience/Deadline", { defaultValue: () => Infinity })

/**
 * The header that carries the time left, as gRPC names it.
 *
 * @public
 */
export const headerName = "grpc-timeout"

/** The milliseconds left until the deadline, which may be negative; infinite where there is none. */
export const remainingMillis: Effect.Effect<number> = Effect.withFiber((fiber) => {
  const deadline = fiber.getRef(Current)
  return Effect.succeed(
    deadline === Infinity ? Infinity : deadline - fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
  )
})

/**
 * Runs `self` with a deadline `duration` from now, or with the outer one if that is sooner. Where it passes, whatever
 * `self` is doing is interrupted and the answer is `DeadlineExceeded`; once passed, nothing starts at all.
 */
export const within: {
  (duration: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DeadlineExceeded, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E | DeadlineExceeded, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, input: Duration.Input): Effect.Effect<A, E | DeadlineExceeded, R> => {
    const duration = Duration.fromInputUnsafe(input)
    const millis = Duration.toMillis(duration)
    return Effect.withFiber((fiber) => {
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      const outer = fiber.getRef(Current)
      const deadline = Math.min(outer, now + millis)
      if (deadline <= now) return Effect.fail(new DeadlineExceeded())
      // The outer deadline is already watched where it was set.
      if (outer === deadline) return self
      return interruptAfter(Effect.provideService(self, Current, deadline), duration, () => new DeadlineExceeded())
    })
  }
)

const units: ReadonlyArray<readonly [unit: string, millis: number]> = [
  ["m", 1],
  ["S", 1_000],
  ["M", 60_000],
  ["H", 3_600_000]
]
const maxDigits = 99_999_999

/**
 * The time left as the header's value, to be sent with a call downstream; undefined where there is no deadline. Time
 * left rather than a moment, because the clocks of two machines differ. It is rounded down, so that a callee never
 * works for an answer that comes too late.
 *
 * The form is `grpc-timeout` of gRPC over HTTP/2: up to eight digits and a unit (H, M, S, m).
 */
export const toHeader = (remainingMillis: number): string | undefined => {
  if (!Number.isFinite(remainingMillis)) return undefined
  const left = Math.max(0, Math.floor(remainingMillis))
  const [unit, millis] = units.find(([, millis]) => left / millis <= maxDigits) ?? ["H", 3_600_000]
  return `${Math.min(maxDigits, Math.floor(left / millis))}${unit}`
}

const form = /^(\d{1,8})([HMSmun])$/
const nanosOf: Readonly<Record<string, number>> = { H: 3.6e12, M: 6e10, S: 1e9, m: 1e6, u: 1e3, n: 1 }

/** The time left that a caller sent in the header; undefined where the value is not of gRPC's form. */
export const fromHeader = (value: string): Duration.Duration | undefined => {
  const [, digits, unit] = form.exec(value) ?? []
  const nanos = unit === undefined ? undefined : nanosOf[unit]
  return digits === undefined || nanos === undefined ? undefined : Duration.millis(Number(digits) * nanos / 1e6)
}
