import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Metric, Result, Schedule, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import { Broken, evenly, now } from "./Stacks.ts"

const limiter = RateLimiter.layer().pipe(Layer.provide(RateLimiterStoreMemory.layer()))

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope | RateLimiter>) =>
  Effect.scoped(effect).pipe(
    Effect.provide(limiter, { local: true }),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

const circuitOf = (name: string, failures = 1) =>
  CircuitBreaker.make({ name, trip: { _tag: "ConsecutiveFailures", failures }, openFor: "10 hours" })

const retryOf = (maxAttempts: number) =>
  Retry.make<unknown>({
    name: "retry",
    retryable: () => true,
    call: Retry.safe,
    maxAttempts,
    schedule: Schedule.spaced(10)
  })

/** Runs to its end however long its delays are. */
const finished = Effect.fnUntraced(function*<A, E, R>(call: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(call, now)
  yield* TestClock.adjust("10 minutes")
  return yield* Fiber.await(fiber)
})

/** Fails so often before it succeeds. */
const failing = (failures: number) => {
  let attempts = 0
  return Effect.suspend(() => ++attempts > failures ? Effect.succeed(attempts) : new Broken())
}

describe("a circuit and a retry", () => {
  it.effect.prop(
    "law 42: a circuit within a retry records each attempt",
    [evenly(1, 6), evenly(0, 8)],
    ([maxAttempts, failures]) =>
      scoped(Effect.gen(function*() {
        const breaker = yield* circuitOf("circuit", 100)
        const policy = Layers.retry(yield* retryOf(maxAttempts)).pipe(Policy.around(Layers.circuit(breaker)))
        yield* finished(Policy.apply(failing(failures), policy))
        const isMadeGood = failures < maxAttempts
        assert.strictEqual((yield* breaker.snapshot).calls.failures, isMadeGood ? 0 : maxAttempts)
        assert.deepStrictEqual(yield* callsOf("circuit"), {
          succeeded: isMadeGood ? 1 : 0,
          failed: Math.min(failures, maxAttempts)
        })
      })),
    { arbitrary: { runs: 200 } }
  )

  it.effect.prop(
    "law 42: a circuit around a retry records one outcome",
    [evenly(1, 6), evenly(0, 8)],
    ([maxAttempts, failures]) =>
      scoped(Effect.gen(function*() {
        const breaker = yield* circuitOf("circuit", 100)
        const policy = Layers.circuit(breaker).pipe(Policy.around(Layers.retry(yield* retryOf(maxAttempts))))
        yield* finished(Policy.apply(failing(failures), policy))
        const isMadeGood = failures < maxAttempts
        assert.deepStrictEqual(
          yield* callsOf("circuit"),
          isMadeGood ? { succeeded: 1, failed: 0 } : {
            succeeded: 0,
            failed: 1
          }
        )
      })),
    { arbitrary: { runs: 200 } }
  )
})

/** What a circuit counted, by its metric. */
const callsOf = Effect.fnUntraced(function*(breaker: string) {
  const all = yield* Metric.snapshot
  const count = (outcome: string) =>
    all.flatMap((one) =>
      one.type === "Counter" && one.id === "circuit_breaker_calls_total" && one.attributes?.["breaker"] === breaker &&
        one.attributes["outcome"] === outcome
        ? [Number(one.state.count)]
        : []
    ).at(0)
  return { succeeded: count("succeeded"), failed: count("failed") }
})

describe("nested timeouts", () => {
  const Timer = Schema.Struct({ kind: Schema.Literals(["Deadline", "Timeout"]), millis: evenly(1, 40) })
  const Timers = Schema.Array(Timer).check(Schema.isMinLength(1), Schema.isMaxLength(6))

  const timerOf = ({ kind, millis }: typeof Timer.Type): Policy.Policy<unknown> =>
    kind === "Deadline" ? Layers.deadline(millis) : Layers.timeout(millis)

  it.effect.prop(
    "law 43: in whatever order, they act as the shortest",
    [Timers, evenly(1, 50)],
    ([timers, takes]) =>
      Effect.gen(function*() {
        const policy = timers.map(timerOf).reduce((outer, inner) => Policy.around(outer, inner), Policy.empty)
        const least = Math.min(...timers.map(({ millis }) => millis))
        const fiber = yield* Effect.forkChild(Policy.apply(Effect.sleep(takes), policy), now)
        yield* TestClock.adjust(Math.min(least, takes) - 1)
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust(1)
        const exit = yield* Fiber.await(fiber)
        if (takes !== least) assert.strictEqual(exit._tag, takes < least ? "Success" : "Failure")
      }),
    { arbitrary: { runs: 1_000 } }
  )
})

describe("a rejection", () => {
  const rateLimitOf = (limit: number) =>
    Result.getOrThrow(RateLimitPolicy.make({ name: "limit", limit, window: "1 hour", algorithm: "fixed-window" }))

  type Refusing = Effect.Effect<Policy.Policy<unknown, never, RateLimiter>, unknown, Scope.Scope | RateLimiter>
  const refusing: ReadonlyArray<readonly [name: string, policy: Refusing]> = [
    [
      "an open circuit",
      Effect.gen(function*() {
        const inner = yield* circuitOf("inner")
        yield* Effect.exit(CircuitBreaker.protect(new Broken(), inner))
        return Layers.circuit(inner)
      })
    ],
    [
      "a circuit that is held open",
      Effect.gen(function*() {
        const inner = yield* circuitOf("inner")
        yield* inner.force("ForcedOpen")
        return Layers.circuit(inner)
      })
    ],
    [
      "a full bulkhead",
      Effect.gen(function*() {
        const bulkhead = yield* Bulkhead.make({ name: "bulkhead", limit: 1 })
        yield* Effect.forkScoped(Bulkhead.withPlace(Effect.never, bulkhead), now)
        return Layers.bulkhead(bulkhead)
      })
    ],
    [
      "a bulkhead waited for too long",
      Effect.gen(function*() {
        const bulkhead = yield* Bulkhead.make({ name: "bulkhead", limit: 1, queue: 100, maxWait: "1 second" })
        yield* Effect.forkScoped(Bulkhead.withPlace(Effect.never, bulkhead), now)
        return Layers.bulkhead(bulkhead)
      })
    ],
    [
      "a spent rate limit",
      Effect.gen(function*() {
        const limits = { policy: rateLimitOf(1), key: "key" }
        yield* RateLimiter.use((limiter) => limiter.tryAcquire(limits))
        return Layers.rateLimit({ limits, counts: "attempts" })
      })
    ],
    [
      "a cost that no limit allows",
      Effect.succeed(Layers.rateLimit({
        limits: { policy: rateLimitOf(1), key: "key", cost: Cost.make(2) },
        counts: "attempts"
      }))
    ]
  ]

  it.effect.each(refusing)(
    "law 44: %s trips no circuit around it, nor one around a retry",
    ([, refuses]) =>
      scoped(Effect.gen(function*() {
        const near = yield* circuitOf("near")
        const far = yield* circuitOf("far")
        const policy = Layers.circuit(far).pipe(
          Policy.around(Layers.retry(yield* retryOf(3))),
          Policy.around(Layers.circuit(near)),
          Policy.around(yield* refuses)
        )
        let ran = 0
        for (let n = 0; n < 3; n++) {
          const exit = yield* finished(Policy.apply(Effect.sync(() => ran++), policy))
          assert.strictEqual(exit._tag, "Failure")
        }
        assert.strictEqual(ran, 0)
        for (const circuit of [near, far]) {
          assert.strictEqual((yield* circuit.snapshot).state, "Closed")
          assert.deepStrictEqual(yield* callsOf(circuit.name), { succeeded: 0, failed: 0 })
        }
      }))
  )

  it.effect("law 44: what a refusal is not, trips both", () =>
    scoped(Effect.gen(function*() {
      const near = yield* circuitOf("near")
      const far = yield* circuitOf("far")
      const policy = Layers.circuit(far).pipe(
        Policy.around(Layers.circuit(near)),
        Policy.around(Layers.timeout("1 second"))
      )
      yield* finished(Policy.apply(Effect.never, policy))
      assert.deepStrictEqual([(yield* near.snapshot).state, (yield* far.snapshot).state], ["Open", "Open"])
    })))
})
