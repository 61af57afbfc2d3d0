import { Clock, Effect, Metric } from "effect"

/** Counts the fibers that were started within what it watches and have not ended, and the timers there. */
export class Alive {
  fibers = 0
  timers = 0

  watch<A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.clockWith((clock) => {
      const counted: Clock.Clock = {
        ...clock,
        sleep: (duration) =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              this.timers++
            }),
            () => clock.sleep(duration),
            () =>
              Effect.sync(() => {
                this.timers--
              })
          )
      }
      return self.pipe(
        Effect.provideService(Clock.Clock, counted),
        Effect.provideService(Metric.FiberRuntimeMetrics, {
          recordFiberStart: () => {
            this.fibers++
          },
          recordFiberEnd: () => {
            this.fibers--
          }
        })
      )
    })
  }

  get counts(): { readonly fibers: number; readonly timers: number } {
    return { fibers: this.fibers, timers: this.timers }
  }
}

export const nothing = { fibers: 0, timers: 0 } as const
