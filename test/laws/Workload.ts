import { Data, Effect, Fiber, Random, Schema } from "effect"
import { TestClock } from "effect/testing"

export class Broken extends Data.TaggedError("Broken") {}

const evenly = (count: number) => Schema.Literals(Array.from({ length: count }, (_, n) => n))

/** A call, and what happens to it. */
export const Call = Schema.Struct({
  ending: Schema.Literals(["succeeds", "fails", "dies", "interrupts itself", "hangs"]),
  yields: evenly(4),
  after: evenly(30),
  /** The turns of the others before its caller gives up; negative for one that doesn't. */
  givesUpAfter: Schema.Literals([-2, -1, 0, 1, 2, 3, 5]),
  pause: evenly(12),
  key: Schema.Literals(["a", "b"])
})
export type Call = typeof Call.Type

export const Calls = Schema.Array(Call).check(Schema.isMinLength(10), Schema.isMaxLength(50))

/**
 * Makes the calls, each in a fiber of its own, with turns and time between them that depend on the seed of the context;
 * some callers give up. In the end none is left: those that hang are interrupted.
 */
export const drive = Effect.fnUntraced(function*<E>(
  calls: ReadonlyArray<Call>,
  through: (work: Effect.Effect<void, Broken>, call: Call) => Effect.Effect<unknown, E>
) {
  let running = 0
  let begun = 0
  let most = 0
  const fibers: Array<Fiber.Fiber<unknown, E>> = []
  for (const call of calls) {
    const work = Effect.acquireUseRelease(
      Effect.sync(() => {
        begun++
        running++
        most = Math.max(most, running)
      }),
      () =>
        Effect.gen(function*() {
          for (let n = 0; n < call.yields; n++) yield* Effect.yieldNow
          if (call.after > 0) yield* Effect.sleep(call.after)
          if (call.ending === "fails") return yield* new Broken()
          if (call.ending === "dies") return yield* Effect.die("defect")
          if (call.ending === "interrupts itself") return yield* Effect.interrupt
          if (call.ending === "hangs") return yield* Effect.never
        }),
      () =>
        Effect.sync(() => {
          running--
        })
    )
    const fiber = yield* Effect.forkChild(through(work, call))
    fibers.push(fiber)
    if (call.givesUpAfter >= 0) {
      for (let n = 0; n < call.givesUpAfter; n++) yield* Effect.yieldNow
      yield* Effect.forkChild(Fiber.interrupt(fiber))
    }
    if (call.pause > 8) yield* TestClock.adjust(call.pause)
    const turns = yield* Random.nextIntBetween(0, 3)
    for (let n = 0; n < turns; n++) yield* Effect.yieldNow
  }
  yield* TestClock.adjust("1 minute")
  yield* Fiber.interruptAll(fibers)
  return { exits: yield* Fiber.awaitAll(fibers), begun, most, left: running }
})
