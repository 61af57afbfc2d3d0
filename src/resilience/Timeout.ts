import { Cause, Duration, Effect, Exit, Fiber, Schema } from "effect"
import { dual } from "effect/Function"

/** The call took too long. It has been interrupted, and its finalizers have run. */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", { after: Schema.Duration }) {
  override get message() {
    return `No answer within ${Duration.format(this.after)}`
  }
}

/** Interrupts fibers and waits for their end; where that is at once, nothing is left to wait for. */
const end = (...fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>): Effect.Effect<void> | undefined => {
  for (const fiber of fibers) fiber.interruptUnsafe()
  const ending = fibers.filter((fiber) => fiber.pollUnsafe() === undefined)
  return ending.length === 0 ? undefined : Effect.asVoid(Fiber.awaitAll(ending))
}

/**
 * Interrupts `self` after `duration`, waits for its finalizers, and then answers with `orElse`, whatever the loser came
 * to; only a defect of the loser is not hidden.
 *
 * An effect that ends without waiting for anything costs one fiber and no timer.
 */
export const interruptAfter = <A, E, R, E2>(
  self: Effect.Effect<A, E, R>,
  duration: Duration.Duration,
  orElse: () => E2
): Effect.Effect<A, E | E2, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Effect.forkChild(self, { startImmediately: true }), (call): Effect.Effect<A, E | E2, R> => {
      const exit = call.pollUnsafe()
      if (exit !== undefined) return exit
      let hasExpired = false
      const expire = Effect.sync(() => {
        hasExpired = true
        call.interruptUnsafe()
      })
      const answer = (exit: Exit.Exit<A, E>): Effect.Effect<A, E | E2> =>
        !hasExpired || (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) ? exit : Effect.fail(orElse())
      const ended = Effect.callback<A, E | E2>((resume) => {
        call.addObserver((exit) => resume(answer(exit)))
      })
      const timer = Effect.forkChild(Effect.andThen(Effect.sleep(duration), expire), { startImmediately: true })
      return Effect.flatMap(timer, (timer) => Effect.onExitPrimitive(restore(ended), () => end(timer, call)))
    })
  )

/**
 * Fails with `TimedOut` when `self` has not ended after `duration`. The caller goes on only once `self` is interrupted
 * and its finalizers have run, so nothing of it works on in secret. Nested timeouts act as their minimum.
 */
export const timeout: {
  (duration: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | TimedOut, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E | TimedOut, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, input: Duration.Input): Effect.Effect<A, E | TimedOut, R> => {
  const duration = Duration.fromInputUnsafe(input)
  return interruptAfter(self, duration, () => new TimedOut({ after: duration }))
})
