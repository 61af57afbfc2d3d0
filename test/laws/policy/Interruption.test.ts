import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Metric, Result, Schedule, Scheduler, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as AdaptiveLimit from "../../../src/resilience/AdaptiveLimit.ts"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Hedge from "../../../src/resilience/Hedge.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { measured } from "../../../src/resilience/policy/Measured.ts"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import * as RetryBudget from "../../../src/resilience/RetryBudget.ts"
import { PausesAt } from "../PausesAt.ts"
import { Leaks } from "./Leaks.ts"
import { Broken, evenly, now } from "./Stacks.ts"

const limiter = RateLimiter.layer().pipe(Layer.provide(RateLimiterStoreMemory.layer()))

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope | RateLimiter>) =>
  Effect.scoped(effect).pipe(
    Effect.provide(limiter, { local: true }),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

const limitPolicy = Result.getOrThrow(
  RateLimitPolicy.make({ name: "limit", limit: 1, window: "1 minute", algorithm: "sliding-window" })
)

/** All kinds of layers there are, and what each holds for its calls. */
const everything = Effect.gen(function*() {
  const circuit = yield* CircuitBreaker.make({
    name: "circuit",
    trip: { _tag: "ConsecutiveFailures", failures: 1 },
    openFor: "1 second",
    halfOpen: { lease: "10 hours" }
  })
  const adaptive = yield* AdaptiveLimit.make({
    name: "adaptive",
    algorithm: { _tag: "Gradient2" },
    maximum: 1,
    queue: 1,
    maxWait: "1 hour"
  })
  const bulkhead = yield* Bulkhead.make({ name: "bulkhead", limit: 1, queue: 1, maxWait: "1 hour" })
  const retry = yield* Retry.make<unknown>({
    name: "retry",
    retryable: () => true,
    call: Retry.safe,
    schedule: Schedule.spaced("1 second")
  })
  const hedge = yield* Hedge.make<unknown>({
    name: "hedge",
    after: { _tag: "Fixed", delay: "5 millis" },
    call: Retry.safe
  })
  const policy = (yield* measured("policy")).pipe(
    Policy.around(Layers.deadline("20 hours")),
    Policy.around(Layers.retryBudget(yield* RetryBudget.make({ ratio: 1, floor: 10 }))),
    Policy.around(Layers.retry(retry)),
    Policy.around(Layers.hedge(hedge)),
    Policy.around(Layers.circuit(circuit)),
    Policy.around(
      Layers.rateLimit({ limits: { policy: limitPolicy, key: "key" }, within: "1 hour", counts: "attempts" })
    ),
    Policy.around(Layers.adaptiveLimit(adaptive)),
    Policy.around(Layers.bulkhead(bulkhead)),
    Policy.around(Layers.timeout("10 hours"))
  )
  return { circuit, adaptive, bulkhead, policy }
})

type Everything = Effect.Success<typeof everything>

const gauges = Effect.map(Metric.snapshot, (all) => {
  const sum = (id: string, outcome?: string) =>
    all.reduce((sum, one) =>
      one.id === id && (outcome === undefined || one.attributes?.["outcome"] === outcome)
        ? sum + Number(one.type === "Counter" ? one.state.count : one.type === "Gauge" ? one.state.value : 0)
        : sum, 0)
  return {
    begun: sum("policy_calls_begun_total"),
    ended: sum("policy_calls_total"),
    interrupted: sum("policy_calls_total", "interrupted"),
    permits: sum("circuit_breaker_permits_total"),
    settled: sum("circuit_breaker_calls_total") - sum("circuit_breaker_calls_total", "rejected"),
    waiting: sum("rate_limiter_waiting")
  }
})

/** What a call holds at the moment of its interruption. */
type Situation = (all: Everything) => Effect.Effect<void, unknown, Scope.Scope | RateLimiter>

const situations: ReadonlyArray<readonly [name: string, prepare: Situation]> = [
  ["runs", () => Effect.void],
  ["is the probe of a half-open circuit", ({ circuit }) =>
    Effect.gen(function*() {
      yield* Effect.exit(CircuitBreaker.protect(new Broken(), circuit))
      yield* TestClock.adjust("1 second")
    })],
  [
    "waits for a rate limit",
    () => RateLimiter.use((limiter) => limiter.tryAcquire({ policy: limitPolicy, key: "key" }))
  ],
  [
    "waits for a place of the adaptive limit",
    ({ adaptive }) => Effect.forkScoped(AdaptiveLimit.withPlace(Effect.never, adaptive), now)
  ],
  [
    "waits for a place of the bulkhead",
    ({ bulkhead }) => Effect.forkScoped(Bulkhead.withPlace(Effect.never, bulkhead), now)
  ]
]

/** More than a call takes until it waits for something. */
const steps = 120

/** Takes no part in any interruption: whatever it acquires it must release. */
const resource = (held: { count: number }, use: Effect.Effect<void, Broken>) =>
  Effect.acquireUseRelease(Effect.sync(() => held.count++), () => use, () => Effect.sync(() => held.count--))

describe("a call that is interrupted", () => {
  for (const [name, prepare] of situations) {
    for (const call of ["never ends", "fails and is tried again"]) {
      it.effect(`law 45: leaves nothing behind, at whatever step, while it ${name} and ${call}`, () =>
        Effect.gen(function*() {
          let interrupted = 0
          for (let step = 1; step <= steps; step++) {
            yield* scoped(Effect.gen(function*() {
              const all = yield* everything
              const { adaptive, bulkhead, circuit, policy } = all
              yield* prepare(all)
              const before = { adaptive: adaptive.running, bulkhead: bulkhead.running }
              const held = { count: 0 }
              const work = resource(held, call === "never ends" ? Effect.never : Effect.fail(new Broken()))
              const leaks = new Leaks()
              const fiber = yield* Policy.apply(work, policy).pipe(
                Effect.provideService(Scheduler.Scheduler, new PausesAt(step)),
                leaks.watch,
                Effect.forkChild(now)
              )
              const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
              if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) interrupted++
              const where = `at step ${step}`
              assert.deepStrictEqual(leaks.left, { fibers: 0, sleeps: 0 }, where)
              assert.strictEqual(held.count, 0, where)
              assert.deepStrictEqual({ adaptive: adaptive.running, bulkhead: bulkhead.running }, before, where)
              assert.deepStrictEqual([adaptive.queued, bulkhead.queued], [0, 0], where)
              const counted = yield* gauges
              assert.strictEqual(counted.waiting, 0, where)
              assert.strictEqual(counted.permits, counted.settled, where)
              assert.strictEqual(counted.begun, counted.ended, where)
              assert.isAtMost(counted.begun, 1, where)
              // A lease would be held for hours: a circuit that is half-open still has its one place to give.
              const { retryAfter, state } = yield* circuit.snapshot
              if (state === "Open") yield* TestClock.adjust(retryAfter ?? 0)
              yield* CircuitBreaker.protect(Effect.void, circuit)
            }))
          }
          assert.strictEqual(interrupted, steps)
        }))
    }
  }
})

describe("many calls that are interrupted", () => {
  const Call = Schema.Struct({
    after: evenly(0, 4),
    takes: evenly(0, 20),
    ends: Schema.Literals(["succeeds", "fails", "dies", "hangs"]),
    interruptedAfter: evenly(0, 30),
    pause: evenly(1, 120)
  })
  const Calls = Schema.Array(Call).check(Schema.isMinLength(2), Schema.isMaxLength(12))

  it.effect.prop(
    "law 45: leave nothing behind, whatever they hold and whichever ends first",
    [Calls],
    ([calls]) =>
      scoped(Effect.gen(function*() {
        const { adaptive, bulkhead, policy } = yield* everything
        const held = { count: 0 }
        const leaks = new Leaks()
        const fibers: Array<Fiber.Fiber<void, unknown>> = []
        for (const { after, ends, interruptedAfter, pause, takes } of calls) {
          const use = Effect.gen(function*() {
            yield* Effect.sleep(takes)
            if (ends === "fails") return yield* new Broken()
            if (ends === "dies") return yield* Effect.die("defect")
            if (ends === "hangs") return yield* Effect.never
          })
          const fiber = yield* Policy.apply(resource(held, use), policy).pipe(
            Effect.provideService(Scheduler.Scheduler, new PausesAt(pause)),
            leaks.watch,
            Effect.forkChild(now)
          )
          fibers.push(fiber)
          yield* Effect.forkChild(Effect.andThen(Effect.sleep(interruptedAfter), Fiber.interrupt(fiber)), now)
          yield* TestClock.adjust(after)
        }
        yield* TestClock.adjust(30)
        yield* Effect.forEach(fibers, Fiber.await)
        assert.deepStrictEqual(leaks.left, { fibers: 0, sleeps: 0 })
        assert.deepStrictEqual([held.count, adaptive.running, adaptive.queued], [0, 0, 0])
        assert.deepStrictEqual([bulkhead.running, bulkhead.queued], [0, 0])
        const { begun, ended, permits, settled, waiting } = yield* gauges
        assert.deepStrictEqual([begun, permits, waiting], [ended, settled, 0])
      })),
    { arbitrary: { runs: 300 } }
  )
})
