import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Data, Duration, Effect, Exit, Fiber, Metric, Random, Schedule, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Deadline from "../../../src/resilience/Deadline.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import * as RetryBudget from "../../../src/resilience/RetryBudget.ts"
import * as RetryDelay from "../../../src/resilience/RetryDelay.ts"

class Unavailable extends Data.TaggedError("Unavailable")<{
  readonly attempt: number
  readonly retryAfter?: Retry.RetryAfter | undefined
}> {}
class Wrong extends Data.TaggedError("Wrong")<{ readonly attempt: number }> {}

const now = { startImmediately: true } as const
const runs = { arbitrary: { runs: 1_000 } }
const evenly = (from: number, to: number) => Schema.Literals(Array.from({ length: to - from + 1 }, (_, n) => from + n))

const isUnavailable = (error: unknown) => error instanceof Unavailable
const policyOf = (more?: Partial<Retry.RetryOptions<unknown>>) =>
  Retry.make<unknown>({
    name: "test",
    retryable: isUnavailable,
    call: Retry.safe,
    schedule: Schedule.spaced(10),
    ...more
  })

/** Attempts that fail until the `fails`-th, and when each began. */
const failing = (fails: number, errorOf: (attempt: number) => Unavailable | Wrong) => {
  const began: Array<number> = []
  const attempt = Effect.gen(function*() {
    began.push(yield* Clock.currentTimeMillis)
    return began.length <= fails ? yield* errorOf(began.length) : began.length
  })
  return { attempt, began }
}

/** Runs to the end on virtual time. */
const finished = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, now)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.await(fiber)
  })

const errorOf = (exit: Exit.Exit<unknown, unknown>) => Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

describe("a retry", () => {
  it.effect.prop("law 26: attempts are at most the maximum, and as many as it takes", [
    evenly(1, 6),
    evenly(0, 8)
  ], ([maxAttempts, fails]) =>
    Effect.gen(function*() {
      const { attempt, began } = failing(fails, (attempt) => new Unavailable({ attempt }))
      const exit = yield* finished(Retry.retry(attempt, yield* policyOf({ maxAttempts })))
      assert.strictEqual(began.length, Math.min(maxAttempts, fails + 1))
      assert.strictEqual(Exit.isSuccess(exit), fails < maxAttempts)
    }), runs)

  it.effect.prop("law 26: no attempt starts at the deadline or after, and none is waited for in vain", [
    evenly(1, 60),
    evenly(1, 25)
  ], ([deadline, delay]) =>
    Effect.gen(function*() {
      const { attempt, began } = failing(100, (attempt) => new Unavailable({ attempt }))
      const policy = yield* policyOf({ maxAttempts: 100, schedule: Schedule.spaced(delay) })
      const start = yield* Clock.currentTimeMillis
      const ended = Retry.retry(attempt, policy).pipe(
        Effect.exit,
        Effect.flatMap((exit) => Effect.map(Clock.currentTimeMillis, (at) => ({ exit, at }))),
        Deadline.within(deadline)
      )
      const exit = yield* finished(ended)
      assert.strictEqual(began.length, Math.ceil(deadline / delay))
      assert.isTrue(began.every((at) => at - start < deadline))
      if (Exit.isFailure(exit)) return assert.fail("the deadline had to interrupt")
      assert.strictEqual(exit.value.at, began.at(-1))
      const error = errorOf(exit.value.exit)
      assert.strictEqual(error instanceof Unavailable ? error.attempt : undefined, began.length)
    }), runs)

  it.effect.prop("law 28: no delay is shorter than a valid Retry-After, cut to its cap; a malformed one is ignored", [
    evenly(0, 40),
    evenly(0, 60),
    evenly(1, 50),
    Schema.Literals(["duration", "seconds", "date", "malformed", "negative", "none"])
  ], ([scheduled, asked, cap, form]) =>
    Effect.gen(function*() {
      const start = yield* Clock.currentTimeMillis
      const seconds = asked * 1_000
      const retryAfter = {
        duration: Duration.millis(seconds),
        seconds: String(asked),
        date: new Date(start + seconds).toUTCString(),
        malformed: `${asked} moments`,
        negative: `-${asked + 1}`,
        none: undefined
      }[form]
      const { attempt, began } = failing(1, (attempt) => new Unavailable({ attempt, retryAfter }))
      yield* finished(Retry.retry(
        attempt,
        yield* policyOf({ schedule: Schedule.spaced(scheduled * 1_000), retryAfterAtMost: cap * 1_000 })
      ))
      const isValid = form === "duration" || form === "seconds" || form === "date"
      const expected = Math.max(scheduled, isValid ? Math.min(asked, cap) : 0)
      assert.deepStrictEqual(began.map((at) => at - start), [0, expected * 1_000])
    }), runs)

  it.effect("law 28: an open circuit tells when to come back", () =>
    Effect.scoped(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        name: "test",
        trip: { _tag: "ConsecutiveFailures", failures: 1 },
        openFor: "5 seconds"
      })
      const { attempt, began } = failing(1, (attempt) => new Unavailable({ attempt }))
      const policy = yield* policyOf({ maxAttempts: 3, retryable: () => true })
      const exit = yield* finished(attempt.pipe(CircuitBreaker.protect(breaker), Retry.retry(policy)))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(began.map((at) => at - (began[0] ?? 0)), [0, 5_000])
    })))

  const notRetried: ReadonlyArray<readonly [name: string, call: Effect.Effect<never, Wrong | Unavailable>]> = [
    ["an error not declared retryable", Effect.fail(new Wrong({ attempt: 1 }))],
    ["a defect", Effect.die("defect")],
    ["an interruption", Effect.interrupt],
    [
      "a retryable error beside a defect",
      Effect.failCause(Cause.combine(Cause.fail(new Unavailable({ attempt: 1 })), Cause.die("defect")))
    ],
    [
      "a retryable error beside another",
      Effect.failCause(
        Cause.combine(Cause.fail(new Unavailable({ attempt: 1 })), Cause.fail(new Wrong({ attempt: 1 })))
      )
    ]
  ]
  it.effect.each(notRetried)("law 29: %s is not retried, and is kept", ([, call]) =>
    Effect.gen(function*() {
      let attempts = 0
      const alone = yield* Effect.exit(call)
      const exit = yield* finished(
        Retry.retry(Effect.andThen(Effect.sync(() => attempts++), call), yield* policyOf({ maxAttempts: 5 }))
      )
      assert.strictEqual(attempts, 1)
      const tags = (exit: Exit.Exit<unknown, unknown>) =>
        Exit.isFailure(exit) ? exit.cause.reasons.map((r) => r._tag) : []
      assert.deepStrictEqual(tags(exit), tags(alone))
    }))

  it.effect.prop("law 29: the last error is kept, whatever ended the retries", [evenly(1, 5), evenly(1, 6)], (
    [maxAttempts, wrongAt]
  ) =>
    Effect.gen(function*() {
      const { attempt } = failing(100, (attempt) =>
        attempt === wrongAt ? new Wrong({ attempt }) : new Unavailable({ attempt }))
      const error = errorOf(yield* finished(Retry.retry(attempt, yield* policyOf({ maxAttempts }))))
      assert.strictEqual(
        error instanceof Unavailable || error instanceof Wrong ? error.attempt : undefined,
        Math.min(maxAttempts, wrongAt)
      )
    }), runs)

  it.effect("law 29: interrupted while it waits, it makes no further attempt", () =>
    Effect.gen(function*() {
      const { attempt, began } = failing(100, (attempt) => new Unavailable({ attempt }))
      const fiber = yield* Effect.forkChild(Retry.retry(attempt, yield* policyOf({ maxAttempts: 9 })), now)
      yield* TestClock.adjust(15)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(began.length, 2)
    }))

  it.effect.each(
    [
      ["without a key once", Retry.unsafe(undefined), 1],
      ["with an empty key once", Retry.unsafe(""), 1],
      ["with a key as often as a safe one", Retry.unsafe("key"), 3]
    ] as const
  )("law 32: an unsafe call is made %s", ([, call, attempts]) =>
    Effect.gen(function*() {
      const here = failing(100, (attempt) => new Unavailable({ attempt }))
      yield* finished(Retry.retry(here.attempt, yield* policyOf({ call })))
      const there = failing(100, (attempt) => new Unavailable({ attempt }))
      yield* finished(there.attempt.pipe(Retry.retry(yield* policyOf(), call)))
      assert.deepStrictEqual([here.began.length, there.began.length], [attempts, attempts])
    }))

  it.effect("law 42: retry(breaker(x)) records each attempt, breaker(retry(x)) records one", () =>
    Effect.scoped(Effect.gen(function*() {
      const breakerOf = CircuitBreaker.make({
        name: "test",
        trip: { _tag: "Rates", window: { _tag: "Calls", size: 10 }, minimumCalls: 10, failureRate: 1 }
      })
      const [inside, outside] = [yield* breakerOf, yield* breakerOf]
      const policy = yield* policyOf({ maxAttempts: 4 })
      const call = new Unavailable({ attempt: 0 })
      yield* finished(Retry.retry(CircuitBreaker.protect(call, inside), policy))
      yield* finished(CircuitBreaker.protect(Retry.retry(call, policy), outside))
      assert.deepStrictEqual([(yield* inside.snapshot).calls.calls, (yield* outside.snapshot).calls.calls], [4, 1])
    })))

  it.effect("law 46: every failed attempt is in the metrics, with what was decided", () =>
    Effect.gen(function*() {
      const { attempt } = failing(100, (attempt) => new Unavailable({ attempt }))
      yield* finished(Retry.retry(attempt, yield* policyOf({ maxAttempts: 4 })))
      const counted = (yield* Metric.snapshot).flatMap((one) =>
        one.type === "Counter" && one.id === "retry_failed_attempts_total"
          ? [[one.attributes?.["decision"], one.state.count]]
          : []
      )
      assert.deepStrictEqual(Object.fromEntries(counted), { retried: 3, exhausted: 1 })
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("settings that make no sense are refused, all at once", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(policyOf({ maxAttempts: 0, retryAfterAtMost: Number.NaN }))
      assert.lengthOf(error.problems, 2)
      const budget = yield* Effect.flip(RetryBudget.make({ ratio: Number.NaN, floor: -1, capacity: 0.5 }))
      assert.lengthOf(budget.problems, 3)
    }))

  it("types: the errors stay as they are, in both forms", () => {
    const check = (
      call: Effect.Effect<string, Unavailable | Wrong, Scope.Scope>,
      policy: Retry.RetryPolicy<unknown>
    ) => {
      expectTypeOf(Retry.retry(call, policy)).toEqualTypeOf(call)
      expectTypeOf(call.pipe(Retry.retry(policy))).toEqualTypeOf(call)
    }
    assert.isFunction(check)
  })
})

describe("the delays", () => {
  const Options = Schema.Struct({
    base: evenly(1, 50),
    cap: evenly(1, 400),
    seed: Schema.Int,
    decorrelated: Schema.Boolean
  })

  /** The first ten delays of a schedule. */
  const delays = ({ base, cap, decorrelated, seed }: typeof Options.Type) => {
    const schedule = decorrelated
      ? RetryDelay.decorrelatedJitter({ base, cap })
      : RetryDelay.fullJitter({ base, cap })
    const { attempt, began } = failing(10, (attempt) => new Unavailable({ attempt }))
    return policyOf({ maxAttempts: 11, schedule }).pipe(
      Effect.flatMap((policy) => finished(Retry.retry(attempt, policy))),
      Effect.map(() => began.slice(1).map((at, n) => Math.round((at - (began[n] ?? 0)) * 1e6) / 1e6)),
      Random.withSeed(seed)
    )
  }

  it.effect.prop("law 27: each lies within its jitter's envelope, and is the same for the same seed", [Options], (
    [options]
  ) =>
    Effect.gen(function*() {
      const found = yield* delays(options)
      assert.lengthOf(found, 10)
      let previous = options.base
      // Differences of the clock's readings are exact to about a nanosecond.
      for (const [n, delay] of found.entries()) {
        const [least, most] = options.decorrelated
          ? [Math.min(options.base, options.cap), Math.min(options.cap, 3 * previous + 1e-6)]
          : [0, Math.min(options.cap, options.base * 2 ** n)]
        assert.isAtLeast(delay, least - 1e-6, `delay ${n}`)
        assert.isAtMost(delay, most + 1e-6, `delay ${n}`)
        previous = delay
      }
      assert.deepStrictEqual(yield* delays(options), found)
    }), { arbitrary: { runs: 500 } })

  it.effect("law 27: they use their whole envelope", () =>
    Effect.gen(function*() {
      const many = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, seed) => seed),
        (seed) => delays({ base: 100, cap: 1_000, decorrelated: false, seed })
      )
      const third = many.map((found) => found[2] ?? 0)
      assert.isBelow(Math.min(...third), 40)
      assert.isAbove(Math.max(...third), 360)
      const capped = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, seed) => seed),
        (seed) => delays({ base: 100, cap: 1_000, decorrelated: true, seed })
      )
      assert.isAbove(Math.max(...capped.map((found) => found[9] ?? 0)), 900)
      assert.isAtLeast(Math.min(...capped.map((found) => found[9] ?? 0)), 99)
    }))
})

describe("a retry budget", () => {
  const Requests = Schema.Array(Schema.Boolean).check(Schema.isMinLength(5), Schema.isMaxLength(60))
  const Budget = Schema.Struct({ ratio: Schema.Literals([0.1, 0.2, 0.25, 0.7, 1, 1.5]), floor: evenly(0, 6) })

  it.effect.prop("law 30: retries ≤ ratio × requests + floor, and no fewer than it has paid for", [Requests, Budget], (
    [requests, { floor, ratio }]
  ) =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio, floor, capacity: 1_000 })
      const policy = yield* policyOf({ maxAttempts: 4 })
      let made = 0
      let expected = 0
      let saved = floor
      for (const [n, fails] of requests.entries()) {
        const { attempt, began } = failing(fails ? 100 : 0, (attempt) => new Unavailable({ attempt }))
        yield* finished(RetryBudget.withRetryBudget(Retry.retry(attempt, policy), budget))
        made += began.length - 1
        saved += ratio
        const afforded = fails ? Math.min(3, Math.floor(saved + 1e-9)) : 0
        saved -= afforded
        expected += afforded
        assert.isAtMost(made, ratio * (n + 1) + floor + 1e-9)
        assert.strictEqual(made, expected)
      }
    }), { arbitrary: { runs: 1_000 } })

  it.effect.prop("law 31: layers that share a budget amplify by at most 1 + ratio, never by the product", [
    Requests,
    Budget,
    evenly(1, 4)
  ], ([requests, { floor, ratio }, layers]) =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio, floor })
      const policy = yield* policyOf({ maxAttempts: 3, schedule: Schedule.forever })
      let calls = 0
      for (const fails of requests) {
        const leaf = Effect.suspend(() => {
          calls++
          return fails ? new Unavailable({ attempt: calls }) : Effect.void
        })
        let layered: Effect.Effect<void, Unavailable> = leaf
        for (let layer = 0; layer < layers; layer++) layered = Retry.retry(layered, policy)
        yield* finished(RetryBudget.withRetryBudget(layered, budget))
      }
      assert.isAtMost(calls, requests.length * (1 + ratio) + floor + 1e-9)
    }), { arbitrary: { runs: 500 } })

  it.effect("law 30: quiet times don't save up for a storm", () =>
    Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 1, floor: 0, capacity: 5 })
      for (let n = 0; n < 1_000; n++) budget.deposit()
      assert.strictEqual(budget.retries, 5)
    }))
})
