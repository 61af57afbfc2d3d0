/** The examples of docs/resilience.md: what stands there between fences stands here too, is compiled, and runs. */
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Fiber, Layer, Metric, Schedule, Stream } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as AdaptiveLimit from "../../src/resilience/AdaptiveLimit.ts"
import * as Bulkhead from "../../src/resilience/Bulkhead.ts"
import { CircuitOpen } from "../../src/resilience/circuit/CircuitRun.ts"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.ts"
import * as CircuitStoreMemory from "../../src/resilience/CircuitStoreMemory.ts"
import * as Deadline from "../../src/resilience/Deadline.ts"
import * as Fallback from "../../src/resilience/Fallback.ts"
import * as FaultInjection from "../../src/resilience/FaultInjection.ts"
import * as Hedge from "../../src/resilience/Hedge.ts"
import * as LastAnswers from "../../src/resilience/LastAnswers.ts"
import * as Policy from "../../src/resilience/Policy.ts"
import * as DirectoryEntry from "../../src/resilience/policy/DirectoryEntry.ts"
import * as Layers from "../../src/resilience/policy/Layers.ts"
import { warnings } from "../../src/resilience/policy/OrderRules.ts"
import { PolicyDirectory } from "../../src/resilience/PolicyDirectory.ts"
import { RateLimitPolicy } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter, withLimit, withReservation } from "../../src/resilience/RateLimiter.ts"
import { Cost } from "../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../src/resilience/RateLimiterStoreMemory.ts"
import * as Retry from "../../src/resilience/Retry.ts"
import * as RetryBudget from "../../src/resilience/RetryBudget.ts"
import * as SharedCircuitBreaker from "../../src/resilience/SharedCircuitBreaker.ts"
import * as SingleFlightCache from "../../src/resilience/SingleFlightCache.ts"
import { TimedOut, timeout } from "../../src/resilience/Timeout.ts"

class Unavailable extends Data.TaggedError("Unavailable") {}

/** What the examples call. */
const fetchPrice = (book: string): Effect.Effect<number, Unavailable> =>
  book === "gone" ? Effect.fail(new Unavailable()) : Effect.as(Effect.sleep("10 millis"), 42)

const services = Layer.mergeAll(
  RateLimiter.layer().pipe(Layer.provideMerge(RateLimiterStoreMemory.layer())),
  CircuitStoreMemory.layer(),
  PolicyDirectory.layer
)

const example = <A, E>(
  name: string,
  run: Effect.Effect<A, E, Layer.Success<typeof services> | Scope.Scope>
) =>
  it.effect(name, () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.scoped(run))
      while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("10 millis")
      yield* Fiber.join(fiber)
    }).pipe(Effect.provide(services, { local: true }), Effect.provideService(Metric.MetricRegistry, new Map())))

describe("the examples of docs/resilience.md", () => {
  example(
    "rate limiter",
    Effect.gen(function*() {
      // begin rate limiter
      const perKey = yield* Effect.fromResult(RateLimitPolicy.make({
        name: "per-key",
        limit: 100,
        window: "1 minute",
        algorithm: "sliding-window"
      }))
      // At once, or `RateLimited` with how long to wait
      const limited = fetchPrice("walden").pipe(withLimit({ limits: { policy: perKey, key: "ann" } }))
      // In order of arrival, for two seconds at most
      const waits = fetchPrice("walden").pipe(
        withLimit({ limits: { policy: perKey, key: "ann" }, within: "2 seconds" })
      )
      // Ten units are reserved, and what the call really took is settled
      const settled = withReservation(fetchPrice("walden"), {
        limits: { policy: perKey, key: "ann", cost: Cost.make(10) },
        actual: () => Cost.make(3)
      })
      // end
      assert.deepStrictEqual(yield* Effect.all([limited, waits, settled]), [42, 42, 42])
      const { tryAcquire } = yield* RateLimiter
      const decision = yield* tryAcquire({ policy: perKey, key: "ann" })
      assert.strictEqual(decision.quotas[0]?.remaining, 100 - 1 - 1 - 3 - 1)
    })
  )

  example(
    "circuit breaker",
    Effect.gen(function*() {
      // begin circuit breaker
      const breaker = yield* CircuitBreaker.make({
        name: "prices",
        trip: {
          _tag: "Rates",
          window: { _tag: "Time", duration: "1 minute" },
          minimumCalls: 10,
          failureRate: 0.5,
          slowCalls: { after: "2 seconds", rate: 0.8 }
        },
        openFor: "5 seconds",
        halfOpen: { probes: 3, lease: "30 seconds" }
      })
      const guarded = fetchPrice("walden").pipe(CircuitBreaker.protect(breaker))
      // A caller's own fault counts neither way
      const judged = fetchPrice("gone").pipe(
        CircuitBreaker.protect(breaker, { classify: (exit) => exit._tag === "Success" ? "Success" : "Ignored" })
      )
      const told = breaker.transitions.pipe(Stream.runForEach(({ from, to }) => Effect.log(`${from} → ${to}`)))
      // end
      const log = yield* Effect.forkScoped(told)
      assert.strictEqual(yield* guarded, 42)
      for (let n = 0; n < 20; n++) yield* Effect.exit(judged)
      assert.strictEqual((yield* breaker.snapshot).state, "Closed")
      yield* Fiber.interrupt(log)
    })
  )

  example(
    "shared circuit",
    Effect.gen(function*() {
      // begin shared circuit
      const shared = yield* SharedCircuitBreaker.make({
        name: "prices",
        trip: { _tag: "ConsecutiveFailures", failures: 5 },
        retryStoreAfter: "1 second"
      })
      const guarded = fetchPrice("walden").pipe(CircuitBreaker.protect(shared))
      // end
      assert.strictEqual(yield* guarded, 42)
    })
  )

  example(
    "retry",
    Effect.gen(function*() {
      // begin retry
      const retry = yield* Retry.make<Unavailable>({
        name: "prices",
        retryable: () => true,
        call: Retry.safe,
        maxAttempts: 3,
        schedule: Schedule.exponential("100 millis")
      })
      const budget = yield* RetryBudget.make({ ratio: 0.1, floor: 10 })
      const price = fetchPrice("walden").pipe(Retry.retry(retry), RetryBudget.withRetryBudget(budget))
      // Work that is not safe to repeat is repeated only under a key
      const order = fetchPrice("walden").pipe(Retry.retry(retry, Retry.unsafe("order-7")))
      // end
      assert.deepStrictEqual(yield* Effect.all([price, order]), [42, 42])
      assert.instanceOf(yield* Effect.flip(fetchPrice("gone").pipe(Retry.retry(retry))), Unavailable)
    })
  )

  example(
    "timeout and deadline",
    Effect.gen(function*() {
      // begin timeout and deadline
      const quick = fetchPrice("walden").pipe(timeout("2 seconds"))
      const request = Effect.gen(function*() {
        const header = Deadline.toHeader(yield* Deadline.remainingMillis)
        const price = yield* fetchPrice("walden")
        return { price, [Deadline.headerName]: header }
      }).pipe(Deadline.within("10 seconds"))
      // end
      assert.strictEqual(yield* quick, 42)
      assert.deepStrictEqual(yield* request, { price: 42, "grpc-timeout": "10000m" })
    })
  )

  example(
    "bulkhead",
    Effect.gen(function*() {
      // begin bulkhead
      const bulkhead = yield* Bulkhead.make({ name: "prices", limit: 32, queue: 100, maxWait: "1 second" })
      const placed = fetchPrice("walden").pipe(Bulkhead.withPlace(bulkhead))
      const adaptive = yield* AdaptiveLimit.make({
        name: "prices",
        algorithm: { _tag: "Gradient2" },
        maximum: 200
      })
      const adapted = fetchPrice("walden").pipe(AdaptiveLimit.withPlace(adaptive))
      // end
      assert.deepStrictEqual(yield* Effect.all([placed, adapted]), [42, 42])
    })
  )

  example(
    "hedge",
    Effect.gen(function*() {
      // begin hedge
      const hedge = yield* Hedge.make<Unavailable>({
        name: "prices",
        after: { _tag: "Percentile", percentile: 0.95 },
        call: Retry.safe
      })
      const hedged = fetchPrice("walden").pipe(Hedge.hedge(hedge))
      // end
      assert.strictEqual(yield* hedged, 42)
    })
  )

  example(
    "fallback",
    Effect.gen(function*() {
      // begin fallback
      const usual = yield* Fallback.make({
        name: "prices",
        handles: Fallback.errors(CircuitOpen, TimedOut),
        answer: () => Effect.succeed("on request")
      })
      // `TimedOut` is gone from the error type, `Unavailable` is not
      const price = fetchPrice("walden").pipe(timeout("2 seconds"), Fallback.orElse(usual))
      const last = yield* LastAnswers.make<number, Unavailable>({
        name: "prices",
        capacity: 1_000,
        within: "10 minutes"
      })
      const stale = fetchPrice("walden").pipe(LastAnswers.orLast(last, "walden"))
      // end
      assert.strictEqual(yield* price, 42)
      assert.deepInclude(yield* stale, { value: 42, isStale: false })
      const old = yield* Effect.fail(new Unavailable()).pipe(LastAnswers.orLast(last, "walden"))
      assert.deepInclude(old, { value: 42, isStale: true })
    })
  )

  example(
    "cache",
    Effect.gen(function*() {
      // begin cache
      const prices = yield* SingleFlightCache.make({
        name: "prices",
        key: (book: string) => book,
        load: fetchPrice,
        capacity: 10_000,
        timeToLive: "1 minute",
        staleWhileRevalidate: "30 seconds",
        staleIfError: { within: "10 minutes" }
      })
      const price = SingleFlightCache.get(prices, "walden")
      // end
      assert.deepStrictEqual(yield* Effect.all([price, price]), [42, 42])
    })
  )

  example(
    "fault injection",
    Effect.gen(function*() {
      // begin fault injection
      const faults = yield* FaultInjection.make<Unavailable>("prices")
      const price = fetchPrice("walden").pipe(FaultInjection.around(faults))
      yield* faults.inject({
        lasts: "5 minutes",
        fail: { share: 1, error: () => new Unavailable() }
      })
      // end
      assert.instanceOf(yield* Effect.flip(price), Unavailable)
      yield* faults.stop
      assert.strictEqual(yield* price, 42)
    })
  )

  example(
    "policy",
    Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({
        name: "prices",
        trip: { _tag: "ConsecutiveFailures", failures: 5 }
      })
      const bulkhead = yield* Bulkhead.make({ name: "prices", limit: 32, queue: 100 })
      const retry = yield* Retry.make<unknown>({ name: "prices", retryable: () => true, call: Retry.safe })
      const directory = yield* PolicyDirectory
      // begin policy
      const policy = Layers.deadline("10 seconds").pipe(
        Policy.around(Layers.retry(retry)),
        Policy.around(Layers.circuit(breaker)),
        Policy.around(Layers.bulkhead(bulkhead)),
        Policy.around(Layers.timeout("2 seconds"))
      )
      // Its layers in words, the metrics it makes, and what is wrong with their order: here nothing
      const said = [policy.toString(), Policy.metrics(policy), warnings(policy)]
      // Effect<number, Unavailable | DeadlineExceeded | CircuitOpen | BulkheadFull | TimedOut>
      const price = fetchPrice("walden").pipe(Policy.apply(policy))
      // An operator lists, holds and resets what is registered
      yield* directory.register(DirectoryEntry.circuit(breaker))
      yield* directory.force({ breaker: "prices" }, "ForcedOpen")
      // end
      assert.deepStrictEqual(said[2], [])
      yield* directory.reset({ breaker: "prices" })
      assert.strictEqual(yield* price, 42)
    })
  )

  it("stand there as they stand here", () => {
    const source = readFileSync(import.meta.filename, "utf8")
    const doc = readFileSync(join(import.meta.dirname, "../../docs/resilience.md"), "utf8")
    const blocks = source.split(/^ *\/\/ begin .*\n/m).slice(1).map((part) => part.split(/^ *\/\/ end\n/m, 1)[0] ?? "")
    assert.lengthOf(blocks, 11)
    for (const block of blocks) {
      const dedented = block.replaceAll(/^ {6}/gm, "")
      assert.include(doc, `\`\`\`ts\n${dedented}\`\`\``)
    }
  })
})
