import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Data, Duration, Effect, Exit, Fiber, Scheduler, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Deadline from "../../../src/resilience/Deadline.ts"
import * as Timeout from "../../../src/resilience/Timeout.ts"
import { PausesAt } from "../PausesAt.ts"

class Broken extends Data.TaggedError("Broken") {}

const now = { startImmediately: true } as const
const Millis = Schema.Literals(Array.from({ length: 40 }, (_, n) => n + 1))
const runs = { arbitrary: { runs: 1_000 } }

/** How `effect` ended and after how many milliseconds. */
const timed = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, now)
    for (let elapsed = 0; elapsed < 1_000; elapsed++) {
      const exit = fiber.pollUnsafe()
      if (exit !== undefined) return { exit, elapsed }
      yield* TestClock.adjust(1)
    }
    return yield* Effect.die("still running after a second")
  })

const errorOf = (exit: Exit.Exit<unknown, unknown>) => Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

describe("a timeout", () => {
  it.effect.prop("law 37: the loser is interrupted, and its finalizers have run when the caller goes on", [
    Millis,
    Millis,
    Millis
  ], ([takes, limit, cleanup]) =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const call = Effect.sleep(takes).pipe(
        Effect.onExit((exit) =>
          Effect.sleep(cleanup).pipe(
            Effect.andThen(Effect.sync(() => events.push(Exit.isSuccess(exit) ? "ended" : "interrupted")))
          )
        ),
        Timeout.timeout(limit),
        Effect.onExit(() => Effect.sync(() => events.push("went on")))
      )
      const { elapsed, exit } = yield* timed(call)
      // What has ended its work but not yet its finalizer when the time is up has lost too.
      const isInTime = takes + cleanup <= limit
      const error = errorOf(exit)
      if (takes + cleanup !== limit) assert.strictEqual(error instanceof Timeout.TimedOut, !isInTime)
      if (takes !== limit) assert.deepStrictEqual(events, [takes < limit ? "ended" : "interrupted", "went on"])
      assert.strictEqual(elapsed, takes <= limit ? takes + cleanup : limit + cleanup)
    }), runs)

  it.effect.prop("law 43: nested timeouts act as their minimum", [
    Millis,
    Schema.Array(Millis).check(Schema.isMinLength(1), Schema.isMaxLength(5))
  ], ([takes, limits]) =>
    Effect.gen(function*() {
      const nest = (self: Effect.Effect<void, Timeout.TimedOut>, limit: number) => Timeout.timeout(self, limit)
      const nested = yield* timed(limits.reduce(nest, Effect.sleep(takes)))
      const least = Math.min(...limits)
      const single = yield* timed(Timeout.timeout(Effect.sleep(takes), least))
      assert.strictEqual(nested.elapsed, single.elapsed)
      assert.strictEqual(Exit.isSuccess(nested.exit), Exit.isSuccess(single.exit))
      if (takes !== least) assert.strictEqual(Exit.isSuccess(nested.exit), takes < least)
      const error = errorOf(nested.exit)
      if (error instanceof Timeout.TimedOut) assert.strictEqual(Duration.toMillis(error.after), least)
    }), runs)

  it.effect("law 37: a defect of the loser's finalizer is not hidden", () =>
    Effect.gen(function*() {
      const { exit } = yield* timed(
        Effect.never.pipe(Effect.onExit(() => Effect.die("defect")), Timeout.timeout(5))
      )
      assert.strictEqual(errorOf(exit), "defect")
    }))

  it.effect("law 45: interrupted at any step, it leaves no call behind", () =>
    Effect.gen(function*() {
      for (let step = 1; step <= 40; step++) {
        let running = 0
        const call = Effect.acquireUseRelease(
          Effect.sync(() => running++),
          () => Effect.never,
          () => Effect.sync(() => running--)
        )
        const fiber = yield* Effect.forkChild(
          Timeout.timeout(call, "1 second").pipe(Effect.provideService(Scheduler.Scheduler, new PausesAt(step))),
          now
        )
        const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        assert.strictEqual(running, 0)
      }
    }))

  it.effect("law 45: an interruption reaches the call, and what encloses it waits for its finalizers", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Effect.never.pipe(
          Effect.onExit(() => Effect.sleep(3).pipe(Effect.andThen(Effect.sync(() => events.push("call"))))),
          Timeout.timeout("1 second"),
          Effect.onExit(() => Effect.sync(() => events.push("caller")))
        ),
        now
      )
      yield* Effect.forkChild(Fiber.interrupt(fiber), now)
      yield* TestClock.adjust(3)
      yield* Fiber.await(fiber)
      assert.deepStrictEqual(events, ["call", "caller"])
    }))

  it.effect("an effect that fails in time keeps its own error", () =>
    Effect.gen(function*() {
      assert.instanceOf(yield* Effect.flip(Timeout.timeout(new Broken(), 5)), Broken)
      const { exit } = yield* timed(Timeout.timeout(Effect.andThen(Effect.sleep(3), new Broken()), 5))
      assert.instanceOf(errorOf(exit), Broken)
    }))
})

describe("a deadline", () => {
  it.effect.prop("law 43: nested deadlines act as their minimum, and nothing starts after it", [
    Millis,
    Millis,
    Millis
  ], ([outer, inner, first]) =>
    Effect.gen(function*() {
      let started = 0
      const begin = Effect.sync(() => started++)
      const call = Effect.sleep(first).pipe(
        Effect.andThen(Deadline.within(Effect.andThen(begin, Effect.never), inner)),
        Deadline.within(outer)
      )
      const { elapsed, exit } = yield* timed(call)
      assert.instanceOf(errorOf(exit), Deadline.DeadlineExceeded)
      assert.strictEqual(elapsed, Math.min(outer, first + inner))
      if (first !== outer) assert.strictEqual(started, first < outer ? 1 : 0)
    }), runs)

  it.effect("law 43: a later deadline inside changes nothing", () =>
    Effect.gen(function*() {
      const left = yield* Deadline.remainingMillis.pipe(Deadline.within(50), Deadline.within(20), Deadline.within(30))
      assert.strictEqual(left, 20)
    }))

  it.effect("law 26: without any time left nothing starts", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Deadline.within(Effect.die("started"), 0))
      assert.instanceOf(error, Deadline.DeadlineExceeded)
    }))

  it.effect("tells how much is left, to the fibers it starts too", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* Deadline.remainingMillis, Infinity)
      const { exit } = yield* timed(
        Effect.sleep(40).pipe(
          Effect.andThen(Effect.forkChild(Deadline.remainingMillis)),
          Effect.flatMap(Fiber.join),
          Deadline.within(100)
        )
      )
      assert.deepStrictEqual(exit, Exit.succeed(60))
    }))

  it.prop("the header never gives more time than is left, and loses less than its unit", [
    Schema.Finite.check(Schema.isBetween({ minimum: -1_000, maximum: 1e14 }))
  ], ([left]) => {
    const header = Deadline.toHeader(left) ?? ""
    assert.match(header, /^\d{1,8}[HMSm]$/)
    const back = Duration.toMillis(Deadline.fromHeader(header) ?? Infinity)
    assert.isAtMost(back, Math.max(0, left))
    if (left >= 0) assert.isBelow(left - back, Math.max(1, left / 1_000))
  }, runs)

  it("reads gRPC's units, and nothing that is malformed", () => {
    const millis = (value: string) => {
      const duration = Deadline.fromHeader(value)
      return duration === undefined ? undefined : Duration.toMillis(duration)
    }
    assert.deepStrictEqual(["1H", "2M", "3S", "4m", "5000u", "6000000n"].map(millis), [
      3_600_000,
      120_000,
      3_000,
      4,
      5,
      6
    ])
    for (const malformed of ["", "m", "-1m", "1.5S", "123456789m", "1s", "1 m", "١m", "1m\n"]) {
      assert.isUndefined(millis(malformed), malformed)
    }
    assert.isUndefined(Deadline.toHeader(Infinity))
  })
})

describe("types", () => {
  it("law 39: the errors join, in both forms, and nothing else changes", () => {
    const check = (call: Effect.Effect<string, Broken, Scope.Scope>) => {
      type Timed = Effect.Effect<string, Broken | Timeout.TimedOut, Scope.Scope>
      type Due = Effect.Effect<string, Broken | Deadline.DeadlineExceeded, Scope.Scope>
      expectTypeOf(Timeout.timeout(call, 5)).toEqualTypeOf<Timed>()
      expectTypeOf(call.pipe(Timeout.timeout("5 seconds"))).toEqualTypeOf<Timed>()
      expectTypeOf(Deadline.within(call, 5)).toEqualTypeOf<Due>()
      expectTypeOf(call.pipe(Deadline.within("5 seconds"))).toEqualTypeOf<Due>()
    }
    assert.isFunction(check)
  })
})
