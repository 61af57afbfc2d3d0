import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { KeyedPlaces } from "../../../src/resilience/bulkhead/KeyedPlaces.ts"

describe("KeyedPlaces", () => {
  it.effect("law 33, law 34: each key has its own places and queue, and is forgotten when nobody uses it", () =>
    Effect.gen(function*() {
      const keyed = new KeyedPlaces({
        limit: 1,
        queue: 1,
        maxWait: Duration.seconds(5),
        refusal: (reason) => reason
      })
      const end = yield* Deferred.make<void>()
      const hold = (key: string) =>
        Effect.forkChild(keyed.inPlace(Deferred.await(end), key), { startImmediately: true })
      const held = yield* Effect.forEach(["a", "a", "b"], hold)
      assert.strictEqual(keyed.size, 2)
      assert.strictEqual(yield* Effect.flip(keyed.inPlace(Effect.void, "a")), "QueueFull")
      yield* keyed.inPlace(Effect.void, "c")
      assert.strictEqual(keyed.size, 2)
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.joinAll(held)
      assert.strictEqual(keyed.size, 0)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(keyed.inPlace(Effect.die("broken"), "a"))))
      assert.strictEqual(keyed.size, 0)
    }))
})
