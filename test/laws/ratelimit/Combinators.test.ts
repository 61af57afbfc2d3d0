import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { ImpossibleCost, RateLimited } from "../../../src/resilience/ratelimit/RateLimitErrors.ts"
import { RateLimiter, withLimit, withReservation } from "../../../src/resilience/RateLimiter.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import { policyOf } from "./Histories.ts"
import { fresh, remaining } from "./Limiters.ts"

describe("combinators", () => {
  class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}

  it.effect("withLimit runs what is allowed and adds RateLimited, in both forms", () =>
    fresh(Effect.gen(function*() {
      const policy = policyOf({ limit: 3, window: "1 minute" })
      const limits = { policy, key: "k" }
      const body: Effect.Effect<number, Broken> = Effect.succeed(7)
      const first = withLimit(body, { limits })
      const last: Effect.Effect<number, Broken | RateLimited | ImpossibleCost, RateLimiter> = body.pipe(
        withLimit({ limits, within: "10 seconds" })
      )
      type Rejections = Exclude<Effect.Error<typeof first>, Broken>
      const rejections: ReadonlyArray<Rejections["_tag"]> = ["RateLimited", "ImpossibleCost"]
      assert.strictEqual(rejections.length, 2)
      assert.strictEqual(yield* first, 7)
      assert.strictEqual(yield* first, 7)
      assert.strictEqual(yield* last, 7)
      const denied = yield* Effect.flip(first)
      assert(denied._tag === "RateLimited")
      assert.strictEqual(Duration.toMillis(denied.retryAfter), 20_000)
      const early = yield* Effect.flip(last)
      assert.strictEqual(early._tag, "RateLimited")
      yield* TestClock.adjust("10 seconds")
      const waiter = yield* Effect.forkChild(last, { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* Fiber.join(waiter), 7)
    })))

  it.effect("withReservation takes the estimate and settles the actual cost, however it ends", () =>
    fresh(Effect.gen(function*() {
      const policy = policyOf({ limit: 100, window: "1 minute", algorithm: "sliding-window" })
      const limits = { policy, key: "k", cost: Cost.make(50) }
      const actual = (exit: Exit.Exit<Cost, Broken>) => Exit.isSuccess(exit) ? exit.value : 0 as const
      const during = yield* withReservation(Effect.succeed(Cost.make(20)), { limits, actual })
      assert.strictEqual(during, 20)
      assert.strictEqual(yield* remaining(policy), 80)
      const broken: Effect.Effect<Cost, Broken> = Effect.fail(new Broken())
      assert.strictEqual((yield* Effect.flip(broken.pipe(withReservation({ limits, actual }))))._tag, "Broken")
      assert.strictEqual(yield* remaining(policy), 80)
      yield* withReservation(Effect.succeed(Cost.make(90)), { limits, actual })
      assert.strictEqual(yield* remaining(policy), 0)
      const denied = yield* Effect.flip(withReservation(Effect.succeed(Cost.make(1)), { limits, actual }))
      assert.strictEqual(denied._tag, "RateLimited")
    })))

  it.effect("a permit is settled once", () =>
    fresh(Effect.gen(function*() {
      const policy = policyOf({ limit: 10, window: "1 minute" })
      const { use } = yield* RateLimiter
      yield* use({ policy, key: "k", cost: Cost.make(6) }, { within: 0 }, (permit) =>
        Effect.andThen(permit.settle(Cost.make(2)), permit.settle(0)))
      assert.strictEqual(yield* remaining(policy), 8)
    })))
})
