import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Clock, Data, Effect, Exit, Fiber, Random, Schedule, Scheduler, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Deadline from "../../../src/resilience/Deadline.ts"
import * as Hedge from "../../../src/resilience/Hedge.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import * as RetryBudget from "../../../src/resilience/RetryBudget.ts"
import { Alive, nothing } from "../Alive.ts"
import { apart, callsCounted, counted } from "../Counted.ts"
import { PausesAt } from "../PausesAt.ts"
import { Broken, Calls, drive } from "../Workload.ts"

class Failed extends Data.TaggedError("Failed")<{ readonly attempt: number }> {}

const now = { startImmediately: true } as const
const runs = { arbitrary: { runs: 1_000 } }
const evenly = (from: number, to: number) => Schema.Literals(Array.from({ length: to - from + 1 }, (_, n) => from + n))
const fixed = (delay: number): Hedge.HedgeDelay => ({ _tag: "Fixed", delay })

const hedgeOf = (more?: Partial<Hedge.HedgeOptions<unknown>>) =>
  Hedge.make<unknown>({ name: "test", after: fixed(10), call: Retry.safe, ...more })

/** How `effect` ended and after how many milliseconds of virtual time. */
const finished = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const start = yield* Clock.currentTimeMillis
    const timed = Effect.flatMap(
      Effect.exit(effect),
      (exit) => Effect.map(Clock.currentTimeMillis, (end) => ({ exit, elapsed: end - start }))
    )
    const fiber = yield* Effect.forkChild(timed, now)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

const Attempt = Schema.Struct({ takes: evenly(1, 12), succeeds: Schema.Boolean, cleanup: evenly(0, 4) })
type Attempt = typeof Attempt.Type

/**
 * What has to happen, step by step: times in tens of milliseconds, an attempt's end moved by its number in milliseconds
 * so that no two things happen at once.
 */
const expected = (attempts: ReadonlyArray<Attempt>, delay: number, maxHedges: number) => {
  const ends = attempts.map(({ cleanup, takes }, n) => 10 * (n * delay + takes + cleanup) + n + 1)
  let begun = 1
  for (;;) {
    const begins = begun <= maxHedges ? 10 * begun * delay : Infinity
    const first = Math.min(...ends.slice(0, begun).map((end, n) => attempts[n]?.succeeds === true ? end : Infinity))
    const last = Math.max(...ends.slice(0, begun))
    const decidedAt = Math.min(first, last)
    if (begins < decidedAt) {
      begun++
      continue
    }
    const ongoing = ends.slice(0, begun).map((end, n) => {
      const { cleanup = 0, takes = 0 } = attempts[n] ?? {}
      const worksUntil = 10 * (n * delay + takes) + n + 1
      return end <= decidedAt ? 0 : worksUntil <= decidedAt ? end : decidedAt + 10 * cleanup
    })
    const winner = first === decidedAt ? ends.indexOf(first) + 1 : undefined
    return { begun, winner, goesOnAt: Math.max(decidedAt, ...ongoing) }
  }
}

describe("a hedge", () => {
  it.effect.prop("law 38: at most k hedges, one winner, losers interrupted and cleaned up, all causes when all fail", [
    Schema.Tuple([Attempt, Attempt, Attempt, Attempt]),
    evenly(1, 8),
    evenly(1, 3)
  ], ([attempts, delay, maxHedges]) =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ after: fixed(10 * delay), maxHedges })
      let begun = 0
      const ended: Array<number> = []
      const call = Effect.suspend(() => {
        const attempt = ++begun
        const { cleanup, succeeds, takes } = attempts[attempt - 1] ?? { cleanup: 0, succeeds: false, takes: 0 }
        return Effect.sleep(10 * takes + attempt).pipe(
          Effect.andThen(succeeds ? Effect.succeed(attempt) : new Failed({ attempt })),
          Effect.onExit(() =>
            Effect.andThen(
              Effect.sleep(10 * cleanup),
              Effect.sync(() => ended.push(attempt))
            )
          )
        )
      })
      const endedThen = Effect.map(Effect.exit(Hedge.hedge(call, policy)), (exit) => ({ exit, ended: ended.length }))
      const { elapsed, exit } = yield* finished(endedThen)
      if (Exit.isFailure(exit)) return assert.fail("the exit is a value here")
      const model = expected(attempts, delay, maxHedges)
      assert.strictEqual(begun, model.begun)
      assert.isAtMost(begun, maxHedges + 1)
      assert.strictEqual(exit.value.ended, begun)
      assert.strictEqual(elapsed, model.goesOnAt)
      if (model.winner !== undefined) return assert.deepStrictEqual(exit.value.exit, Exit.succeed(model.winner))
      if (Exit.isSuccess(exit.value.exit)) return assert.fail("all failed")
      const failed = exit.value.exit.cause.reasons.flatMap((reason) =>
        Cause.isFailReason(reason) ? [reason.error.attempt] : []
      )
      assert.deepStrictEqual(failed.toSorted(), Array.from({ length: begun }, (_, n) => n + 1))
    })), runs)

  it.effect.each(
    [
      ["first", 15, 60],
      ["second", 50, 50]
    ] as const
  )("law 38: the %s wins; a loser that can't be interrupted is waited for, and its answer counts for nothing", (
    [winner, takes, goesOnAt]
  ) =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf()
      let attempts = 0
      const call = Effect.suspend(() => {
        const name = ++attempts === 1 ? "first" : "second"
        const millis = name === "first" ? takes : winner === "second" ? 0 : 50
        return Effect.uninterruptible(Effect.as(Effect.sleep(millis), name))
      })
      const { elapsed, exit } = yield* finished(Hedge.hedge(call, policy))
      assert.deepStrictEqual([elapsed, exit], [goesOnAt, Exit.succeed(winner)])
      const [won, lost] = winner === "second" ? [1, 0] : [0, 1]
      assert.deepStrictEqual(yield* counted("hedge_hedges_total", "ending"), { won, lost, failed: 0, interrupted: 0 })
    })))

  it.effect("law 38: a defect of a loser's finalizer is not hidden", () =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf()
      let attempts = 0
      const call = Effect.suspend(() =>
        ++attempts === 1 ? Effect.onExit(Effect.never, () => Effect.die("defect")) : Effect.void
      )
      const { exit } = yield* finished(Hedge.hedge(call, policy))
      assert.deepStrictEqual(Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined, "defect")
    })))

  it.effect.each(
    [
      ["a final error", new Failed({ attempt: 2 })],
      ["a defect", Effect.die("defect")]
    ] satisfies ReadonlyArray<readonly [string, Effect.Effect<never, Failed>]>
  )("law 38: %s of one attempt ends the call", ([, ending]) =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ isFinal: (error) => error instanceof Failed, maxHedges: 2 })
      let attempts = 0
      const call = Effect.suspend(() => ++attempts === 2 ? ending : Effect.never)
      const { elapsed, exit } = yield* finished(Hedge.hedge(call, policy))
      assert.deepStrictEqual([attempts, elapsed, exit], [2, 10, yield* Effect.exit(ending)])
    })))

  it.effect("law 38: a call that ends before the delay, well or badly, is made once", () =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf()
      let attempts = 0
      const begin = Effect.sync(() => ++attempts)
      yield* finished(Hedge.hedge(begin, policy))
      yield* finished(Hedge.hedge(Effect.andThen(begin, Effect.sleep(9)), policy))
      yield* finished(Hedge.hedge(Effect.andThen(begin, Effect.andThen(Effect.sleep(5), new Broken())), policy))
      assert.strictEqual(attempts, 3)
    })))

  it.effect.each(
    [
      ["without a key once", Retry.unsafe(undefined), 1],
      ["with an empty key once", Retry.unsafe(""), 1],
      ["with a key as often as a safe one", Retry.unsafe("key"), 3]
    ] as const
  )("law 32: an unsafe call is made %s", ([, call, attempts]) =>
    apart(Effect.gen(function*() {
      const made = { here: 0, there: 0 }
      const attempt = (where: "here" | "there") => Effect.andThen(Effect.sync(() => made[where]++), Effect.sleep(100))
      yield* finished(Hedge.hedge(attempt("here"), yield* hedgeOf({ call, maxHedges: 2 })))
      yield* finished(attempt("there").pipe(Hedge.hedge(yield* hedgeOf({ maxHedges: 2 }), call)))
      assert.deepStrictEqual(made, { here: attempts, there: attempts })
    })))

  it.effect.prop("law 26: no hedge starts at the deadline or after", [evenly(1, 60), evenly(1, 25)], (
    [deadline, delay]
  ) =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ after: fixed(delay), maxHedges: 100 })
      const start = yield* Clock.currentTimeMillis
      const began: Array<number> = []
      const attempt = Effect.andThen(
        Effect.map(Clock.currentTimeMillis, (at) => began.push(at - start)),
        Effect.never
      )
      const { elapsed } = yield* finished(attempt.pipe(Hedge.hedge(policy), Deadline.within(deadline)))
      assert.strictEqual(elapsed, deadline)
      assert.deepStrictEqual(began, Array.from({ length: Math.ceil(deadline / delay) }, (_, n) => n * delay))
    })), runs)

  it.effect.prop("law 30, law 31: hedges and retries, nested, take from one budget", [
    Schema.Array(Schema.Literals(["answers", "fails", "is slow"])).check(Schema.isMaxLength(40)),
    Schema.Literals([0.1, 0.25, 0.7, 1]),
    evenly(0, 5)
  ], ([requests, ratio, floor]) =>
    apart(Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio, floor })
      const inner = yield* hedgeOf({ after: fixed(5), maxHedges: 3 })
      const outer = yield* hedgeOf({ name: "outer", after: fixed(7), maxHedges: 2 })
      const retry = yield* Retry.make({
        name: "test",
        retryable: () => true,
        call: Retry.safe,
        maxAttempts: 3,
        schedule: Schedule.spaced(1)
      })
      let calls = 0
      for (const ending of requests) {
        const leaf = Effect.suspend(() => {
          calls++
          if (ending === "fails") return new Broken()
          return ending === "answers" ? Effect.void : Effect.sleep(30)
        })
        yield* finished(
          leaf.pipe(Hedge.hedge(inner), Retry.retry(retry), Hedge.hedge(outer), RetryBudget.withRetryBudget(budget))
        )
      }
      assert.isAtMost(calls, requests.length * (1 + ratio) + floor + 1e-9)
    })), { arbitrary: { runs: 500 } })

  it.effect("law 30: a budget with nothing left makes no hedge, and says so", () =>
    apart(Effect.gen(function*() {
      const budget = yield* RetryBudget.make({ ratio: 0.1, floor: 1 })
      const policy = yield* hedgeOf({ maxHedges: 2 })
      let attempts = 0
      const call = Effect.andThen(Effect.sync(() => ++attempts), Effect.sleep(100))
      for (let n = 0; n < 3; n++) {
        yield* finished(call.pipe(Hedge.hedge(policy), RetryBudget.withRetryBudget(budget)))
      }
      assert.strictEqual(attempts, 4)
      assert.deepStrictEqual(yield* counted("hedge_withheld_total", "hedge"), { test: 3 })
    })))

  it.effect("law 44: rejections of all attempts are a rejection, which trips no outer breaker", () =>
    apart(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ name: "outer", trip: { _tag: "ConsecutiveFailures", failures: 1 } })
      const bulkhead = yield* Bulkhead.make({ name: "inner", limit: 1, queue: 2, maxWait: "100 millis" })
      const policy = yield* hedgeOf()
      yield* Effect.forkChild(Bulkhead.withPlace(Effect.never, bulkhead), now)
      for (let n = 0; n < 3; n++) {
        yield* finished(Effect.void.pipe(
          Bulkhead.withPlace(bulkhead),
          Hedge.hedge(policy),
          CircuitBreaker.protect(breaker)
        ))
      }
      assert.strictEqual((yield* breaker.snapshot).state, "Closed")
      const { rejected } = yield* callsCounted("hedge_calls")
      assert.deepStrictEqual([rejected, bulkhead.rejected], [3, 6])
    })))

  it.effect("law 45: interrupted at any step, it leaves no attempt, fiber or timer behind", () =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ maxHedges: 2 })
      for (let step = 1; step <= 120; step++) {
        for (const elapsed of [0, 10, 15, 20]) {
          let running = 0
          const call = Effect.acquireUseRelease(
            Effect.sync(() => ++running),
            () => Effect.never,
            () => Effect.sync(() => --running)
          )
          const alive = new Alive()
          const fiber = yield* Effect.forkChild(
            alive.watch(Hedge.hedge(call, policy)).pipe(
              Effect.provideService(Scheduler.Scheduler, new PausesAt(step))
            ),
            now
          )
          yield* TestClock.adjust(elapsed)
          const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
          assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
          assert.deepStrictEqual([running, alive.counts], [0, nothing], `step ${step}`)
        }
      }
      const { begun, ended, interrupted } = yield* callsCounted("hedge_calls")
      assert.deepStrictEqual([begun, interrupted], [ended, ended])
      assert.isAbove((yield* counted("hedge_hedges_total", "ending"))["interrupted"] ?? 0, 100)
    })))

  it.effect.prop("law 46: calls = succeeded + failed + rejected + interrupted, in the metrics too", [
    Calls,
    evenly(1, 12),
    evenly(1, 3),
    Schema.Int
  ], ([calls, delay, maxHedges, seed]) =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ after: fixed(delay), maxHedges })
      const { begun, exits, left } = yield* drive(calls, (work) => Hedge.hedge(work, policy))
      assert.strictEqual(left, 0)
      const seen = yield* callsCounted("hedge_calls")
      assert.strictEqual(seen.begun, seen.ended)
      assert.isAtMost(seen.begun, exits.length)
      const hedges = Object.values(yield* counted("hedge_hedges_total", "ending")).reduce((sum, n) => sum + n, 0)
      assert.isAtMost(begun, seen.begun + hedges)
      assert.isAtMost(hedges, maxHedges * seen.begun)
    })).pipe(Random.withSeed(seed)), { arbitrary: { runs: 300 } })

  it.effect("settings that make no sense are refused, all at once", () =>
    apart(Effect.gen(function*() {
      const fixedDelay = yield* Effect.flip(hedgeOf({ after: fixed(Number.NaN), maxHedges: 0 }))
      assert.lengthOf(fixedDelay.problems, 2)
      const percentile = yield* Effect.flip(hedgeOf({
        after: { _tag: "Percentile", percentile: 1.5, atLeast: 0, window: 0, minimumCalls: 2 }
      }))
      assert.lengthOf(percentile.problems, 4)
    })))

  it("types: the errors stay as they are, in both forms", () => {
    const check = (call: Effect.Effect<string, Failed | Broken, Scope.Scope>, policy: Hedge.Hedge<unknown>) => {
      expectTypeOf(Hedge.hedge(call, policy)).toEqualTypeOf(call)
      expectTypeOf(call.pipe(Hedge.hedge(policy))).toEqualTypeOf(call)
    }
    assert.isFunction(check)
  })
})

describe("a hedge after a percentile", () => {
  const percentile = (share: number, window = 1_000): Hedge.HedgeDelay => ({
    _tag: "Percentile",
    percentile: share,
    window
  })

  it.effect("hedges nothing until it has seen enough, and then only what is slow", () =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ after: percentile(0.95) })
      let attempts = 0
      const call = (millis: number) => Effect.suspend(() => Effect.sleep(++attempts === 1 ? millis : 10))
      const made = Effect.fnUntraced(function*(millis: number) {
        attempts = 0
        const { elapsed } = yield* finished(Hedge.hedge(call(millis), policy))
        return { attempts, elapsed }
      })
      for (let n = 0; n < 99; n++) yield* made(n % 50 === 0 ? 1_000 : 10)
      assert.deepStrictEqual(yield* made(1_000), { attempts: 1, elapsed: 1_000 })
      const { attempts: twice, elapsed } = yield* made(1_000)
      assert.strictEqual(twice, 2)
      assert.isTrue(elapsed >= 19.8 && elapsed <= 20.2, `${elapsed} ms`)
      assert.deepStrictEqual((yield* made(9)).attempts, 1)
    })))

  it.effect("is not misled by the attempts that lose: the share that is hedged stays what it was", () =>
    apart(Effect.gen(function*() {
      const policy = yield* hedgeOf({ after: percentile(0.9, 500) })
      let hedges = 0
      for (let n = 0; n < 6_000; n++) {
        const millis = 1 + (n * 37) % 100
        let attempts = 0
        const call = Effect.suspend(() => Effect.sleep(++attempts === 1 ? millis : 1))
        const fiber = yield* Effect.forkChild(Hedge.hedge(call, policy), now)
        yield* TestClock.adjust(200)
        yield* Fiber.join(fiber)
        hedges += attempts - 1
      }
      assert.approximately(hedges / 6_000, 0.1, 0.03)
      assert.approximately(policy.state.delayMillis ?? 0, 90, 4)
    })))
})
