import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Fiber, Metric } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Policy from "../../../src/resilience/Policy.ts"
import { warnings } from "../../../src/resilience/policy/OrderRules.ts"
import * as StandardPolicy from "../../../src/resilience/policy/StandardPolicy.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import { Broken, now } from "./Stacks.ts"

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(effect).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

const options = {
  name: "runtime",
  deadline: "10 seconds",
  attemptTimeout: "2 seconds",
  retry: { retryable: (error) => error._tag === "Broken" || error._tag === "TimedOut", call: Retry.safe },
  bulkhead: { limit: 32, queue: 100 }
} satisfies StandardPolicy.StandardOptions<Broken>

/** An old answer instead of an error. */
const stale = Policy.layer<never, unknown, never, "stale">({
  role: { kind: "Fallback" },
  text: "fallback",
  metrics: [],
  wrap: (self) => Effect.orElseSucceed(self, () => "stale" as const)
})

/** How a call ended, and after how many milliseconds. */
const timed = Effect.fnUntraced(function*<A, E>(call: Effect.Effect<A, E>) {
  const started = yield* Clock.currentTimeMillis
  const ended = Effect.flatMap(Effect.exit(call), (exit) =>
    Effect.map(Clock.currentTimeMillis, (at) => ({
      end: Exit.isSuccess(exit) ? exit.value : Cause.squash(exit.cause),
      after: at - started
    })))
  const fiber = yield* Effect.forkChild(ended, now)
  yield* TestClock.adjust("1 minute")
  return yield* Fiber.join(fiber)
})

describe("the usual stack", () => {
  it.effect("prints itself and names its metrics, the outermost first", () =>
    scoped(Effect.gen(function*() {
      const parts = yield* StandardPolicy.make(options)
      assert.strictEqual(
        String(StandardPolicy.withAnswers(stale, parts)),
        "deadline 10s → fallback → retry ×3 (jitter 100ms..10s) → circuit \"runtime\" (5 failures, 30s) → " +
          "bulkhead \"runtime\" 32 (+100) → timeout 2s"
      )
      const metrics = Policy.metrics(StandardPolicy.of(parts))
      assert.include(metrics, "retry_failed_attempts_total")
      const shown = new Set((yield* Metric.snapshot).map(({ id }) => id))
      assert.deepStrictEqual(metrics.filter((id) => !shown.has(id)), ["retry_failed_attempts_total"])
      yield* timed(Policy.apply(Effect.fail(new Broken()), StandardPolicy.of(parts)))
      assert.deepStrictEqual([...new Set((yield* Metric.snapshot).map(({ id }) => id))].toSorted(), metrics)
    })))

  it.effect("breaks no rule of order", () =>
    scoped(Effect.gen(function*() {
      const parts = yield* StandardPolicy.make(options)
      assert.deepStrictEqual(warnings(StandardPolicy.of(parts)), [])
      assert.deepStrictEqual(warnings(StandardPolicy.withAnswers(stale, parts)), [])
    })))

  it.effect("each attempt that hangs is ended in its time, counts in the circuit, and is followed by another", () =>
    scoped(Effect.gen(function*() {
      const parts = yield* StandardPolicy.make(options)
      let attempts = 0
      const call = Effect.suspend(() => ++attempts < 3 ? Effect.never : Effect.succeed("answer"))
      const { after, end } = yield* timed(Policy.apply(call, StandardPolicy.of(parts)))
      assert.deepStrictEqual([end, attempts], ["answer", 3])
      assert.isAtLeast(after, 4_200)
      assert.isBelow(after, 10_000)
      yield* timed(Policy.apply(Effect.never, StandardPolicy.of(parts)))
      assert.strictEqual((yield* parts.circuit.snapshot).calls.failures, 3)
    })))

  it.effect("the deadline ends it all, and an open circuit the retries", () =>
    scoped(Effect.gen(function*() {
      // It passes in the middle of the second attempt, whatever the delay before that
      const parts = yield* StandardPolicy.make({
        ...options,
        deadline: "3 seconds",
        retry: { ...options.retry, maxAttempts: 100 }
      })
      const { after, end } = yield* timed(Policy.apply(Effect.never, StandardPolicy.of(parts)))
      assert.deepStrictEqual([after, end instanceof Error ? end.name : end], [3_000, "DeadlineExceeded"])
      yield* parts.circuit.reset
      let attempts = 0
      const fails = Effect.suspend(() => {
        attempts++
        return new Broken()
      })
      const open = yield* timed(Policy.apply(fails, StandardPolicy.of({ ...parts, deadline: "50 seconds" })))
      assert.deepStrictEqual([attempts, open.end instanceof Error ? open.end.name : open.end], [5, "CircuitOpen"])
    })))

  it.effect("while a retry waits its place is free, and a fallback answers the last failure", () =>
    scoped(Effect.gen(function*() {
      const parts = yield* StandardPolicy.make({ ...options, bulkhead: { limit: 1 } })
      const call = yield* Effect.forkChild(
        Policy.apply(Effect.fail(new Broken()), StandardPolicy.withAnswers(stale, parts)),
        now
      )
      assert.isUndefined(call.pollUnsafe())
      assert.deepInclude(parts.bulkhead.snapshot, { running: 0, queued: 0 })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* Fiber.join(call), "stale")
    })))

  it.effect("settings that make no sense are refused", () =>
    scoped(Effect.gen(function*() {
      const error = yield* Effect.flip(StandardPolicy.make({ ...options, deadline: "1 second" }))
      assert.deepStrictEqual(error.problems, ["attemptTimeout must be shorter than deadline, or it never acts"])
      const both = yield* Effect.flip(StandardPolicy.make({ ...options, deadline: -1, attemptTimeout: Number.NaN }))
      assert.lengthOf(both.problems, 3)
    })))
})
