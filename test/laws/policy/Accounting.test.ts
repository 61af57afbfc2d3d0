import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Metric, Result, Schedule, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import type { StateName } from "../../../src/resilience/circuit/CircuitState.ts"
import type { Transition } from "../../../src/resilience/circuit/MemoryCircuit.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as DirectoryEntry from "../../../src/resilience/policy/DirectoryEntry.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { measured } from "../../../src/resilience/policy/Measured.ts"
import { PolicyDirectory } from "../../../src/resilience/PolicyDirectory.ts"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import { isRejection } from "../../../src/resilience/Rejection.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import { Broken, evenly, now } from "./Stacks.ts"

const Call = Schema.Struct({
  gap: evenly(0, 6),
  takes: evenly(0, 15),
  ends: Schema.Literals(["succeeds", "succeeds", "fails", "fails", "dies", "hangs"]),
  /** Negative for a call that nobody interrupts. */
  interruptedAfter: Schema.Literals([-1, -1, -1, 0, 3, 12])
})
const Calls = Schema.Array(Call).check(Schema.isMinLength(5), Schema.isMaxLength(40))

const limit = Result.getOrThrow(
  RateLimitPolicy.make({ name: "limit", limit: 8, window: "40 millis", algorithm: "sliding-window" })
)
const limitOfKey = { policy: limit, key: "key" }

const made = Effect.gen(function*() {
  const circuit = yield* CircuitBreaker.make({
    name: "circuit",
    trip: { _tag: "ConsecutiveFailures", failures: 3 },
    openFor: "20 millis",
    growth: 1
  })
  const bulkhead = yield* Bulkhead.make({ name: "bulkhead", limit: 3, queue: 2, maxWait: "10 millis" })
  const retry = yield* Retry.make<unknown>({
    name: "retry",
    retryable: () => true,
    call: Retry.safe,
    schedule: Schedule.spaced("5 millis"),
    retryAfter: () => undefined
  })
  const policy = (yield* measured("requests")).pipe(
    Policy.around(Layers.retry(retry)),
    Policy.around(yield* measured("attempts")),
    Policy.around(Layers.circuit(circuit)),
    Policy.around(Layers.rateLimit({ limits: limitOfKey, within: "10 millis", counts: "attempts" })),
    Policy.around(Layers.bulkhead(bulkhead)),
    Policy.around(Layers.timeout("10 millis")),
    Policy.around(yield* measured("runs"))
  )
  return { circuit, policy }
})

/** Sums of the metrics: `sum(id, attribute values…)`. */
const counted = Effect.map(
  Metric.snapshot,
  (all) => (id: string, ...values: ReadonlyArray<string>) =>
    all.reduce((sum, one) =>
      one.type === "Counter" && one.id === id &&
        values.every((value) => Object.values(one.attributes ?? {}).includes(value))
        ? sum + Number(one.state.count)
        : sum, 0)
)

const outcomeOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isSuccess(exit) ? "succeeded" : Cause.hasInterruptsOnly(exit.cause)
    ? "interrupted"
    : isRejection(Cause.squash(exit.cause))
    ? "rejected"
    : "failed"

const layer = Layer.mergeAll(
  RateLimiter.layer().pipe(Layer.provideMerge(RateLimiterStoreMemory.layer())),
  PolicyDirectory.layer
)

describe("the accounts of a stack", () => {
  it.effect.prop(
    "law 46: calls = succeeded + failed + rejected + interrupted, in every layer's metrics; the events rebuild the state",
    [Calls],
    ([calls]) =>
      Effect.gen(function*() {
        const { circuit, policy } = yield* made
        const directory = yield* PolicyDirectory
        yield* directory.register(DirectoryEntry.circuit(circuit))
        const transitions: Array<Transition> = []
        yield* directory.transitions.pipe(
          Stream.runForEach((transition) => Effect.sync(() => transitions.push(transition))),
          Effect.forkScoped(now)
        )
        // Counts again, from nothing but the events
        const copy = new MemoryStore(100)
        yield* (yield* RateLimiter).events.pipe(
          Stream.runForEach((event) =>
            Effect.clockWith((clock) =>
              Effect.sync(() => {
                if (event._tag === "Allowed") copy.take(event.demands, clock.currentTimeMillisUnsafe())
                if (event._tag === "Settled") copy.settle(event.settlements, clock.currentTimeMillisUnsafe())
              })
            )
          ),
          Effect.forkScoped(now)
        )

        const fibers: Array<Fiber.Fiber<void, unknown>> = []
        for (const { ends, gap, interruptedAfter, takes } of calls) {
          const call = Effect.gen(function*() {
            if (takes > 0) yield* Effect.sleep(takes)
            if (ends === "fails") return yield* new Broken()
            if (ends === "dies") return yield* Effect.die("defect")
            if (ends === "hangs") return yield* Effect.never
          })
          const fiber = yield* Effect.forkChild(Policy.apply(call, policy), now)
          fibers.push(fiber)
          if (interruptedAfter >= 0) {
            yield* Effect.forkChild(Effect.andThen(Effect.sleep(interruptedAfter), Fiber.interrupt(fiber)), now)
          }
          for (let n = 0; n < gap; n++) yield* TestClock.adjust(1)
        }
        yield* TestClock.adjust(500)
        const exits = yield* Effect.forEach(fibers, Fiber.await)

        const sum = yield* counted
        for (const outcome of ["succeeded", "failed", "rejected", "interrupted"]) {
          const expected = exits.filter((exit) => outcomeOf(exit) === outcome).length
          assert.strictEqual(sum("policy_calls_total", "requests", outcome), expected, outcome)
        }
        for (const layer of ["requests", "attempts", "runs"]) {
          assert.strictEqual(sum("policy_calls_begun_total", layer), sum("policy_calls_total", layer), layer)
        }
        assert.strictEqual(sum("policy_calls_begun_total", "requests"), calls.length)

        // Every attempt is the first of a request or a retry that was counted, but for those interrupted in the delay.
        const attempts = sum("policy_calls_begun_total", "attempts")
        assert.isAtMost(attempts, calls.length + sum("retry_failed_attempts_total", "retried"))
        assert.strictEqual(sum("circuit_breaker_calls_total"), attempts)
        const permits = sum("circuit_breaker_permits_total")
        assert.strictEqual(permits, attempts - sum("circuit_breaker_calls_total", "rejected"))
        // Each layer is asked by exactly the calls that the one around it let through.
        assert.strictEqual(sum("rate_limiter_decisions_total", "limit"), permits)
        const admitted = sum("bulkhead_admitted_total")
        assert.isAtMost(
          admitted + sum("bulkhead_rejected_total"),
          sum("rate_limiter_decisions_total", "limit", "allowed")
        )
        assert.strictEqual(sum("policy_calls_begun_total", "runs"), admitted)

        let [name, generation]: [StateName, number] = ["Closed", 1]
        for (const transition of transitions) {
          assert.strictEqual(transition.from, name)
          assert.strictEqual(transition.generation, ++generation)
          name = transition.to
        }
        assert.deepInclude(yield* circuit.snapshot, { state: name, generation })
        assert.strictEqual(sum("circuit_breaker_transitions_total"), transitions.length)
        assert.deepStrictEqual(
          copy.inspect([limitOfKey], yield* Effect.clockWith((clock) => clock.currentTimeMillis)),
          yield* RateLimiterStore.use((store) => store.inspect([limitOfKey]))
        )
      }).pipe(
        Effect.scoped,
        Effect.provide(layer, { local: true }),
        Effect.provideService(Metric.MetricRegistry, new Map())
      ),
    { arbitrary: { runs: 300 } }
  )
})
