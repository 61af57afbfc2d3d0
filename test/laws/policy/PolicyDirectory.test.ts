import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Exit, Fiber, Layer, Metric, Result, Scope, Stream } from "effect"
import * as AdaptiveLimit from "../../../src/resilience/AdaptiveLimit.ts"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as DirectoryEntry from "../../../src/resilience/policy/DirectoryEntry.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { PolicyDirectory } from "../../../src/resilience/PolicyDirectory.ts"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import { now } from "./Stacks.ts"

class Broken extends Data.TaggedError("Broken") {}

const services = Layer.mergeAll(
  PolicyDirectory.layer,
  RateLimiter.layer().pipe(Layer.provideMerge(RateLimiterStoreMemory.layer()))
)

const provided = <A, E>(
  effect: Effect.Effect<A, E, Scope.Scope | Layer.Success<typeof services>>
) =>
  Effect.scoped(effect).pipe(
    Effect.provide(services, { local: true }),
    Effect.provideService(Metric.MetricRegistry, new Map())
  )

const options = { trip: { _tag: "ConsecutiveFailures", failures: 1 }, openFor: "1 second" } as const

const limit = Result.getOrThrow(
  RateLimitPolicy.make({ name: "limit", limit: 10, window: "1 minute", algorithm: "fixed-window" })
)

describe("the directory of policies", () => {
  it.effect("lists circuits by name and key, with their state, for as long as their scope lives", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const keyed = yield* CircuitBreaker.makeKeyed({ ...options, name: "models" })
      const one = yield* CircuitBreaker.make({ ...options, name: "a" })
      yield* directory.register(DirectoryEntry.keyedCircuit(keyed))
      const scope = yield* Scope.make()
      yield* Scope.provide(directory.register(DirectoryEntry.circuit(one)), scope)
      yield* Effect.exit(CircuitBreaker.protect(new Broken(), keyed.at("z")))
      yield* CircuitBreaker.protect(Effect.void, keyed.at("b"))
      const listed = Effect.map(
        directory.circuits,
        (circuits) => circuits.map(({ breaker, key, state }) => [breaker, key, state])
      )
      assert.deepStrictEqual(yield* listed, [
        ["a", undefined, "Closed"],
        ["models", "b", "Closed"],
        ["models", "z", "Open"]
      ])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual((yield* listed).map(([breaker]) => breaker), ["models", "models"])
      yield* directory.register(DirectoryEntry.circuit(one))
      assert.lengthOf(yield* listed, 3)
    })))

  it.effect("holds and resets the circuit of a name and a key, and tells what it is then", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const keyed = yield* CircuitBreaker.makeKeyed({ ...options, name: "models" })
      const one = yield* CircuitBreaker.make({ ...options, name: "one" })
      yield* directory.register(DirectoryEntry.keyedCircuit(keyed))
      yield* directory.register(DirectoryEntry.circuit(one))

      const address = { breaker: "models", key: "iris" }
      assert.deepInclude(yield* directory.force(address, "ForcedOpen"), { ...address, state: "ForcedOpen" })
      const error = yield* Effect.flip(CircuitBreaker.protect(Effect.void, keyed.at("iris")))
      assert.strictEqual(error._tag, "CircuitOpen")
      yield* CircuitBreaker.protect(Effect.void, keyed.at("another"))
      assert.deepInclude(yield* directory.circuit(address), { state: "ForcedOpen" })
      assert.deepInclude(yield* directory.reset(address), { state: "Closed" })
      yield* CircuitBreaker.protect(Effect.void, keyed.at("iris"))

      assert.deepInclude(yield* directory.force({ breaker: "one" }, "Disabled"), { state: "Disabled" })
      assert.deepInclude(yield* one.snapshot, { state: "Disabled" })
    })))

  it.effect("looking at a circuit that had no call makes none", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const keyed = yield* CircuitBreaker.makeKeyed({ ...options, name: "models" })
      yield* directory.register(DirectoryEntry.keyedCircuit(keyed))
      assert.deepInclude(yield* directory.circuit({ breaker: "models", key: "iris" }), { state: "Closed" })
      assert.deepStrictEqual(yield* directory.circuits, [])
    })))

  it.effect("knows no circuit but those that are registered, with a key where they have keys", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      yield* directory.register(
        DirectoryEntry.keyedCircuit(yield* CircuitBreaker.makeKeyed({ ...options, name: "models" }))
      )
      yield* directory.register(DirectoryEntry.circuit(yield* CircuitBreaker.make({ ...options, name: "one" })))
      for (const address of [{ breaker: "models" }, { breaker: "one", key: "iris" }, { breaker: "none" }]) {
        for (const act of [directory.circuit, directory.reset]) {
          const error = yield* Effect.flip(act(address))
          assert.deepInclude(error, { _tag: "CircuitNotFound", breaker: address.breaker })
        }
      }
    })))

  it.effect("two policies of a kind can't have one name", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const bulkhead = yield* Bulkhead.make({ name: "runtime", limit: 1 })
      yield* directory.register(DirectoryEntry.bulkhead(bulkhead))
      yield* directory.register(DirectoryEntry.circuit(yield* CircuitBreaker.make({ ...options, name: "runtime" })))
      const error = yield* Effect.scoped(Effect.flip(directory.register(DirectoryEntry.bulkhead(bulkhead))))
      assert.deepInclude(error, { _tag: "PolicyNameTaken", kind: "Bulkhead", name: "runtime" })
      // The one that came first is still there.
      assert.lengthOf(yield* directory.bulkheads, 1)
    })))

  it.effect("tells what a rate limit has left for a key, and forgets what was taken", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const limiter = yield* RateLimiter
      yield* directory.register(yield* DirectoryEntry.rateLimit(limit))
      assert.deepStrictEqual(yield* directory.rateLimits, [limit])
      yield* limiter.tryAcquire({ policy: limit, key: "k", cost: Cost.make(7) })
      assert.deepInclude(yield* directory.quota("limit", "k"), { policy: "limit", quota: 10, remaining: 3 })
      assert.deepInclude(yield* directory.quota("limit", "another"), { remaining: 10 })
      yield* directory.forget("limit", "k")
      assert.deepInclude(yield* directory.quota("limit", "k"), { remaining: 10 })
      const errors = [yield* Effect.flip(directory.forget("no", "k")), yield* Effect.flip(directory.quota("no", "k"))]
      assert.deepStrictEqual(errors.map(({ _tag }) => _tag), ["RateLimitNotFound", "RateLimitNotFound"])
    })))

  it.effect("lists bulkheads and adaptive limits as they are now, and policies in words", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const bulkhead = yield* Bulkhead.make({ name: "runtime", limit: 2, queue: 3 })
      const adaptive = yield* AdaptiveLimit.make({
        name: "runtime",
        algorithm: { _tag: "Gradient2" },
        maximum: 50,
        initial: 5
      })
      const retry = yield* Retry.make<unknown>({ name: "retry", retryable: () => true, call: Retry.safe })
      const policy = Layers.bulkhead(bulkhead).pipe(Policy.around(Layers.retry(retry)))
      yield* directory.register(DirectoryEntry.bulkhead(bulkhead))
      yield* directory.register(DirectoryEntry.adaptiveLimit(adaptive))
      yield* directory.register(DirectoryEntry.policy("calls", policy))
      yield* Effect.forkScoped(Bulkhead.withPlace(Effect.never, bulkhead), now)
      assert.deepStrictEqual(yield* directory.bulkheads, [{ bulkhead: "runtime", limit: 2, running: 1, queued: 0 }])
      assert.deepStrictEqual(yield* directory.adaptiveLimits, [
        { name: "runtime", limit: 5, minimum: 1, maximum: 50, running: 0 }
      ])
      const [view] = yield* directory.policies
      assert.deepInclude(view, { name: "calls", text: "bulkhead \"runtime\" 2 (+3) → retry ×3 (jitter 100ms..10s)" })
      assert.deepStrictEqual(view?.warnings.map(({ rule }) => rule), ["place-held-between-attempts"])
      assert.deepStrictEqual(view?.metrics, Policy.metrics(policy))
    })))

  it.effect("tells of the changes of all circuits, also of those that are registered later", () =>
    provided(Effect.gen(function*() {
      const directory = yield* PolicyDirectory
      const first = yield* CircuitBreaker.make({ ...options, name: "first" })
      yield* directory.register(DirectoryEntry.circuit(first))
      const seen = yield* directory.transitions.pipe(
        Stream.map(({ breaker, to }) => `${breaker}: ${to}`),
        Stream.take(3),
        Stream.runCollect,
        Effect.forkChild(now)
      )
      yield* first.force("Disabled")
      const later = yield* CircuitBreaker.make({ ...options, name: "later" })
      yield* directory.register(DirectoryEntry.circuit(later))
      yield* Effect.exit(CircuitBreaker.protect(new Broken(), later))
      yield* first.reset
      assert.sameMembers(yield* Fiber.join(seen), ["first: Disabled", "later: Open", "first: Closed"])
    })))
})
