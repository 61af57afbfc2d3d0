/**
 * Work side by side across keys and in order along each key: a lane per key that has work, and none for a key that has
 * not.
 */
import { Effect, FiberSet } from "effect"
import type { Scope } from "effect"

export interface KeyLanes<A> {
  /** Adds work at the end of its key's lane. */
  readonly add: (key: string, work: A) => Effect.Effect<void>
  /** Lanes finish what they have begun and begin nothing more; returns when the last has. */
  readonly drain: Effect.Effect<void>
  /** Never returns; passes on a defect of a lane. */
  readonly join: Effect.Effect<never>
}

/** `run` handles one piece of work. Lanes are interrupted when the scope closes. */
export const make = Effect.fnUntraced(function*<A>(
  run: (work: A) => Effect.Effect<void>
): Effect.fn.Return<KeyLanes<A>, never, Scope.Scope> {
  const fibers = yield* FiberSet.make<void, never>()
  const lanes = new Map<string, Array<A>>()
  let isDraining = false

  const lane = Effect.fnUntraced(function*(key: string, waiting: Array<A>) {
    while (!isDraining) {
      const work = waiting.shift()
      if (work === undefined) break
      yield* run(work)
    }
    lanes.delete(key)
  })

  return {
    add: (key, work) =>
      Effect.suspend(() => {
        const waiting = lanes.get(key)
        if (waiting !== undefined) {
          waiting.push(work)
          return Effect.void
        }
        const started = [work]
        lanes.set(key, started)
        return Effect.asVoid(FiberSet.run(fibers, lane(key, started)))
      }),
    drain: Effect.suspend(() => {
      isDraining = true
      return FiberSet.awaitEmpty(fibers)
    }),
    join: Effect.andThen(FiberSet.join(fibers), Effect.never)
  }
})
