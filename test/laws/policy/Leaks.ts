/** Counts what must be gone once a call has ended: fibers that live, and sleeps that nobody woke. */
import { Clock, Effect, Metric } from "effect"

export class Leaks {
  #fibers = 0
  #sleeps = 0

  /** Fibers that have begun and not ended, and sleeps under way. */
  get left() {
    return { fibers: this.#fibers, sleeps: this.#sleeps }
  }

  /** Counts what `self` and all fibers that it starts leave behind. */
  readonly watch = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.clockWith((clock) =>
      self.pipe(
        Effect.provideService(Metric.FiberRuntimeMetrics, {
          recordFiberStart: () => {
            this.#fibers++
          },
          recordFiberEnd: () => {
            this.#fibers--
          }
        }),
        Effect.provideService(Clock.Clock, this.#countingSleeps(clock))
      )
    )

  #countingSleeps(clock: Clock.Clock): Clock.Clock {
    return {
      currentTimeMillis: clock.currentTimeMillis,
      currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
      currentTimeNanos: clock.currentTimeNanos,
      currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      sleep: (duration) =>
        Effect.acquireUseRelease(
          Effect.sync(() => this.#sleeps++),
          () => clock.sleep(duration),
          () => Effect.sync(() => this.#sleeps--)
        )
    }
  }
}
