import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Clock, Data, Effect, Exit, Fiber, Random, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as FaultInjection from "../../../src/resilience/FaultInjection.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { apart, counted } from "../Counted.ts"

class Injected extends Data.TaggedError("Injected") {}

const now = { startImmediately: true } as const
const made = FaultInjection.make<Injected>("test")
const error = () => new Injected()

describe("fault injection", () => {
  it.effect("nothing is injected until it is told to, after it was stopped, and after its time", () =>
    apart(Effect.gen(function*() {
      const faults = yield* made
      const call = FaultInjection.around(Effect.succeed(1), faults)
      const active = Effect.map(counted("fault_injection_active"), (one) => one[""])
      assert.deepStrictEqual([yield* call, yield* active, yield* faults.current], [1, 0, undefined])
      yield* faults.inject({ lasts: "1 minute", fail: { share: 1, error } })
      assert.instanceOf(yield* Effect.flip(call), Injected)
      yield* TestClock.adjust(59_999)
      assert.instanceOf(yield* Effect.flip(call), Injected)
      assert.strictEqual(yield* active, 1)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual([yield* call, yield* active], [1, 0])
      yield* faults.inject({ lasts: "1 minute", die: { share: 1 } })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(call)))
      yield* faults.stop
      assert.strictEqual(yield* call, 1)
    })))

  it.effect.prop("a share of the calls meets each fault, the same for the same seed, and all are counted", [
    Schema.Literals([0.1, 0.5, 1]),
    Schema.Literals([0.2, 0.9]),
    Schema.Int
  ], ([failing, late, seed]) =>
    apart(Effect.gen(function*() {
      const faults = yield* made
      yield* faults.inject({
        lasts: "1 day",
        fail: { share: failing, error },
        delay: { share: late, by: 10 }
      })
      const play = Effect.gen(function*() {
        const seen: Array<string> = []
        for (let n = 0; n < 200; n++) {
          const began = yield* Clock.currentTimeMillis
          const fiber = yield* Effect.forkChild(Effect.exit(FaultInjection.around(Effect.void, faults)), now)
          yield* TestClock.adjust(10)
          const exit = yield* Fiber.join(fiber)
          seen.push(`${Exit.isSuccess(exit)} ${(yield* Clock.currentTimeMillis) - began}`)
        }
        return seen
      }).pipe(Random.withSeed(seed))
      const [first, second] = [yield* play, yield* play]
      assert.deepStrictEqual(first, second)
      const { delay = 0, fail = 0 } = yield* counted("fault_injection_injected_total", "fault")
      assert.strictEqual(fail, 2 * first.filter((one) => one.startsWith("false")).length)
      // Six standard deviations of a draw of 200
      const near = (count: number, share: number) =>
        assert.isAtMost(Math.abs(count / 2 - 200 * share), 6 * Math.sqrt(200 * share * (1 - share)))
      near(fail, failing)
      near(delay, late)
    })), { arbitrary: { runs: 20 } })

  it.effect("a call that is held up can be interrupted, and the call itself has not begun", () =>
    apart(Effect.gen(function*() {
      const faults = yield* made
      let begun = 0
      for (const fault of [{ hang: { share: 1 } }, { delay: { share: 1, by: "1 hour" } }] as const) {
        yield* faults.inject({ lasts: "1 minute", ...fault })
        const call = FaultInjection.around(Effect.sync(() => begun++), faults)
        const fiber = yield* Effect.forkChild(call, now)
        yield* TestClock.adjust("30 minutes")
        assert.isUndefined(fiber.pollUnsafe())
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(begun, 0)
    })))

  it.effect("a drill opens the circuit around it, which closes again after", () =>
    apart(Effect.gen(function*() {
      const faults = yield* made
      const breaker = yield* CircuitBreaker.make({
        name: "b",
        trip: { _tag: "ConsecutiveFailures", failures: 3 },
        openFor: "5 seconds"
      })
      const policy = Layers.circuit(breaker).pipe(Policy.around(Layers.faults(faults)))
      const call = Effect.exit(Policy.apply(Effect.void, policy))
      yield* faults.inject({ lasts: "4 seconds", fail: { share: 1, error } })
      for (let n = 0; n < 3; n++) yield* call
      assert.strictEqual((yield* breaker.snapshot).state, "Open")
      yield* TestClock.adjust("5 seconds")
      yield* call
      assert.strictEqual((yield* breaker.snapshot).state, "Closed")
    })))

  it.effect("settings that make no sense are refused, all at once, and change nothing", () =>
    apart(Effect.gen(function*() {
      const faults = yield* made
      const refused = yield* Effect.flip(faults.inject({
        lasts: 0,
        fail: { share: 0, error },
        delay: { share: Number.NaN, by: -1 },
        hang: { share: 1.1 }
      }))
      assert.lengthOf(refused.problems, 5)
      assert.lengthOf((yield* Effect.flip(faults.inject({ lasts: "1 minute" }))).problems, 1)
      assert.isUndefined(yield* faults.current)
    })))

  it("law 39: an injected error joins the errors of the call", () => {
    const check = (call: Effect.Effect<string, "broken">, faults: FaultInjection.FaultInjection<Injected>) => {
      type Expected = Effect.Effect<string, "broken" | Injected>
      expectTypeOf(FaultInjection.around(call, faults)).toEqualTypeOf<Expected>()
      expectTypeOf(call.pipe(FaultInjection.around(faults))).toEqualTypeOf<Expected>()
      expectTypeOf(Policy.apply(call, Layers.faults(faults))).toEqualTypeOf<Expected>()
    }
    assert.isFunction(check)
  })
})
