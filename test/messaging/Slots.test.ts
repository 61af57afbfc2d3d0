import { assert, describe, it } from "@effect/vitest"
import { Array, Deferred, Effect, Fiber } from "effect"
import { Slots } from "../../src/messaging/Slots.ts"

describe("Slots", () => {
  it.effect("so many at once and no more, the others in the order of their coming", () =>
    Effect.gen(function*() {
      const slots = new Slots(3)
      const order: Array<number> = []
      let now = 0
      let most = 0
      yield* Effect.forEach(Array.range(1, 50), (n) =>
        slots.withSlot(Effect.gen(function*() {
          order.push(n)
          most = Math.max(most, ++now)
          yield* Effect.yieldNow
          now--
        })), { concurrency: "unbounded", discard: true })
      assert.deepStrictEqual(order, Array.range(1, 50))
      assert.strictEqual(most, 3)
    }))

  it.effect("a slot is free again after a failure, and after an interruption with it, without it and on its way", () =>
    Effect.gen(function*() {
      const slots = new Slots(1)
      yield* Effect.flip(slots.withSlot(Effect.fail("no")))
      const release = yield* Deferred.make<void>()
      let hasBegun = false
      const holder = yield* Effect.forkChild(slots.withSlot(Deferred.await(release)), { startImmediately: true })
      const [waiting, granted, last] = yield* Effect.all([
        Effect.forkChild(slots.withSlot(Effect.die("it was interrupted")), { startImmediately: true }),
        Effect.forkChild(slots.withSlot(Effect.sync(() => void (hasBegun = true)).pipe(Effect.andThen(Effect.never))), {
          startImmediately: true
        }),
        Effect.forkChild(slots.withSlot(Effect.succeed("mine")), { startImmediately: true })
      ])
      yield* Fiber.interrupt(waiting)
      yield* Effect.yieldNow
      assert.isFalse(hasBegun)
      // The slot is granted and whom it is granted to is interrupted before that one goes on
      Deferred.doneUnsafe(release, Effect.void)
      granted.interruptUnsafe()
      yield* Fiber.await(holder)
      yield* Fiber.await(granted)
      assert.strictEqual(yield* Fiber.join(last), "mine")
    }))
})
