import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Exit, Fiber, Layer, Metric, Scheduler, Stream } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import type { CircuitOptions } from "../../../src/resilience/circuit/CircuitSettings.ts"
import type { Transition } from "../../../src/resilience/circuit/MemoryCircuit.ts"
import { protect } from "../../../src/resilience/CircuitBreaker.ts"
import { CircuitBreakers } from "../../../src/resilience/CircuitBreakers.ts"
import { CircuitStore, CircuitStoreLost } from "../../../src/resilience/CircuitStore.ts"
import * as CircuitStoreMemory from "../../../src/resilience/CircuitStoreMemory.ts"
import * as DirectoryEntry from "../../../src/resilience/policy/DirectoryEntry.ts"
import { PolicyDirectory } from "../../../src/resilience/PolicyDirectory.ts"
import * as SharedCircuitBreaker from "../../../src/resilience/SharedCircuitBreaker.ts"
import { apart, counted } from "../Counted.ts"
import { PausesAt } from "../PausesAt.ts"
import { Calls, drive } from "../Workload.ts"

class Broken extends Data.TaggedError("Broken") {}

const now = { startImmediately: true } as const
const broken = Effect.fail(new Broken())

const options: CircuitOptions = {
  name: "shared",
  trip: { _tag: "ConsecutiveFailures", failures: 3 },
  openFor: "10 seconds",
  halfOpen: { probes: 2, lease: "30 seconds" }
}

/** A store that can be taken away, and how often it was asked. */
const fragile = Effect.gen(function*() {
  const store = yield* CircuitStore
  const state = { isAway: false, asked: 0 }
  const guarded = <A>(effect: Effect.Effect<A, CircuitStoreLost>) =>
    Effect.suspend(() => {
      state.asked++
      return state.isAway ? Effect.andThen(Effect.sleep(100), new CircuitStoreLost({})) : effect
    })
  return {
    state,
    store: CircuitStore.of({ step: (step) => guarded(store.step(step)), keys: (name) => guarded(store.keys(name)) })
  }
})

/** Replicas of one breaker on one store. */
const replicas = Effect.fnUntraced(function*(count: number, more?: Partial<CircuitOptions>) {
  const { state, store } = yield* fragile
  const breakers = yield* Effect.forEach(
    Array.from({ length: count }),
    () => Effect.provideService(SharedCircuitBreaker.make({ ...options, ...more }), CircuitStore, store)
  )
  const [first, second = first] = breakers
  if (first === undefined || second === undefined) return yield* Effect.die(new Error("no replica"))
  return { breakers, first, second, state }
})

const alone = <A, E>(effect: Effect.Effect<A, E, CircuitStore | Scope.Scope>) =>
  apart(effect).pipe(Effect.provide(CircuitStoreMemory.layer(), { local: true }))

const stateOf = (breaker: SharedCircuitBreaker.SharedCircuitBreaker) =>
  Effect.map(breaker.snapshot, ({ state }) => state)

/** Of the last replica that was made: the registry shows one of several of a name. */
const sum = (id: string, isCounted: (outcome: unknown) => boolean = () => true) =>
  Effect.map(
    Metric.snapshot,
    (all) =>
      all.reduce((sum, one) =>
        one.id === id && one.type === "Counter" && isCounted(one.attributes?.["outcome"])
          ? sum + Number(one.state.count)
          : sum, 0)
  )

describe("a circuit that replicas share", () => {
  it.effect("law 17, law 18: failures of all replicas together open it for all of them", () =>
    alone(Effect.gen(function*() {
      const { breakers, first, second } = yield* replicas(3)
      for (const breaker of breakers) yield* Effect.exit(protect(broken, breaker))
      let begun = 0
      for (const breaker of breakers) {
        const error = yield* Effect.flip(protect(Effect.sync(() => begun++), breaker))
        assert.strictEqual(error._tag, "CircuitOpen")
      }
      assert.deepStrictEqual([begun, yield* stateOf(first), yield* stateOf(second)], [0, "Open", "Open"])
    })))

  it.effect("law 19, law 21: all replicas together let N probes through; one that hangs loses its place by lease", () =>
    alone(Effect.gen(function*() {
      const { breakers } = yield* replicas(4)
      for (const breaker of breakers.slice(1)) yield* Effect.exit(protect(broken, breaker))
      yield* TestClock.adjust("10 seconds")
      let running = 0
      const hangs = Effect.andThen(Effect.sync(() => running++), Effect.never)
      const hammer = Effect.forEach(breakers, (breaker) => Effect.forkScoped(Effect.exit(protect(hangs, breaker)), now))
      yield* hammer
      yield* hammer
      assert.strictEqual(running, 2)
      yield* TestClock.adjust("29 seconds")
      yield* hammer
      assert.strictEqual(running, 2)
      yield* TestClock.adjust("1 second")
      yield* hammer
      assert.strictEqual(running, 4)
    })))

  it.effect("law 20: what a replica began before the circuit opened does not close it again", () =>
    alone(Effect.gen(function*() {
      const { first, second } = yield* replicas(2)
      const old = yield* Effect.forkChild(protect(Effect.sleep("15 seconds"), second), now)
      for (let n = 0; n < 3; n++) yield* Effect.exit(protect(broken, first))
      yield* TestClock.adjust("15 seconds")
      yield* Fiber.join(old)
      assert.strictEqual(yield* stateOf(first), "Open")
      assert.strictEqual(yield* sum("circuit_breaker_late_results_total"), 1)
    })))

  it.effect("law 24: an operator's hold is that of all replicas, and so is its end", () =>
    alone(Effect.gen(function*() {
      const { first, second } = yield* replicas(2)
      yield* first.force("ForcedOpen")
      assert.deepInclude(yield* Effect.flip(protect(Effect.void, second)), { retryAfter: undefined })
      yield* second.force("Disabled")
      for (let n = 0; n < 5; n++) yield* Effect.exit(protect(broken, first))
      assert.strictEqual(yield* stateOf(first), "Disabled")
      yield* second.reset
      assert.strictEqual(yield* stateOf(first), "Closed")
    })))

  it.effect("law 45: interrupted at whatever step, a probe's place is given back", () =>
    alone(Effect.gen(function*() {
      for (let step = 1; step <= 60; step++) {
        const { first } = yield* replicas(1, { name: `step ${step}`, halfOpen: { probes: 1, lease: "10 hours" } })
        for (let n = 0; n < 3; n++) yield* Effect.exit(protect(broken, first))
        yield* TestClock.adjust("10 seconds")
        const fiber = yield* protect(Effect.never, first).pipe(
          Effect.provideService(Scheduler.Scheduler, new PausesAt(step)),
          Effect.forkChild(now)
        )
        const exit = yield* Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
        yield* protect(Effect.void, first)
        assert.strictEqual(yield* stateOf(first), "Closed")
      }
    })))

  it.effect.prop("law 22, law 46: permits = recorded + ignored + interrupted, and the events tell every change", [
    Calls
  ], ([calls]) =>
    alone(Effect.gen(function*() {
      const { breakers } = yield* replicas(2)
      const seen: Array<Transition> = []
      for (const { transitions } of breakers) {
        yield* Effect.forkScoped(Stream.runForEach(transitions, (one) => Effect.sync(() => seen.push(one))), now)
      }
      const { left } = yield* drive(calls, (work, { key }) => {
        const breaker = breakers[key === "a" ? 0 : 1]
        return breaker === undefined ? work : protect(work, breaker)
      })
      assert.strictEqual(left, 0)
      assert.strictEqual(
        yield* sum("circuit_breaker_permits_total"),
        yield* sum("circuit_breaker_calls_total", (outcome) => outcome !== "rejected")
      )
      const ordered = seen.toSorted((one, other) => one.generation - other.generation)
      let [state, generation] = ["Closed", ordered[0]?.generation ?? 0]
      for (const [n, change] of ordered.entries()) {
        assert.deepStrictEqual([change.from, change.generation], [state, generation + n])
        state = change.to
      }
      generation += ordered.length
      const [first] = breakers
      assert.strictEqual(first === undefined ? state : yield* stateOf(first), state)
    })), { arbitrary: { runs: 200 } })

  it.effect("without its store each replica has a circuit of its own, which begins as the shared one was; a metric says so", () =>
    alone(Effect.gen(function*() {
      const { first, state } = yield* replicas(1)
      const isUp = Effect.map(counted("circuit_breaker_store_up", "breaker"), (one) => one["shared"])
      for (let n = 0; n < 3; n++) yield* Effect.exit(protect(broken, first))
      state.isAway = true
      const waits = yield* Effect.forkChild(Effect.flip(protect(Effect.void, first)), now)
      yield* TestClock.adjust(100)
      assert.strictEqual((yield* Fiber.join(waits))._tag, "CircuitOpen")
      assert.strictEqual(yield* isUp, 0)
      // Nobody waits for the store again within a second.
      const { asked } = state
      assert.strictEqual((yield* Effect.flip(protect(Effect.void, first)))._tag, "CircuitOpen")
      assert.strictEqual(state.asked, asked)
      state.isAway = false
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Effect.flip(protect(Effect.void, first)))._tag, "CircuitOpen")
      assert.deepStrictEqual([yield* isUp, state.asked], [1, asked + 1])
    })))

  it.effect("an operator's hold stays while the store is away, and cannot be changed then", () =>
    alone(Effect.gen(function*() {
      const { first, state } = yield* replicas(1)
      yield* first.force("ForcedOpen")
      state.isAway = true
      const change = yield* Effect.forkChild(Effect.flip(first.reset), now)
      yield* TestClock.adjust(100)
      assert.instanceOf(yield* Fiber.join(change), CircuitStoreLost)
      assert.deepInclude(yield* Effect.flip(protect(Effect.void, first)), { retryAfter: undefined })
      assert.strictEqual(yield* stateOf(first), "ForcedOpen")
    })))

  it.effect("an outcome that the store can't be told is counted, and ends the call no other way", () =>
    alone(Effect.gen(function*() {
      const { first, state } = yield* replicas(1)
      const call = yield* Effect.forkChild(protect(Effect.as(Effect.sleep(10), "answer"), first), now)
      state.isAway = true
      yield* TestClock.adjust(110)
      assert.strictEqual(yield* Fiber.join(call), "answer")
      assert.strictEqual((yield* counted("circuit_breaker_unshared_total", "breaker"))["shared"], 1)
    })))

  it.effect("a classification that throws gives its permit back, and its defect ends the call", () =>
    alone(Effect.gen(function*() {
      const { first } = yield* replicas(1, { halfOpen: { probes: 1, lease: "10 hours" } })
      for (let n = 0; n < 3; n++) yield* Effect.exit(protect(broken, first))
      yield* TestClock.adjust("10 seconds")
      const classify = () => {
        throw new Error("classification")
      }
      assert.isTrue(Exit.hasDies(yield* Effect.exit(protect(Effect.void, first, { classify }))))
      yield* protect(Effect.void, first)
      assert.strictEqual(yield* stateOf(first), "Closed")
    })))
})

describe("circuits by key that replicas share", () => {
  const both = CircuitBreakers.layerShared().pipe(Layer.provideMerge(CircuitStoreMemory.layer()))

  it.effect("law 9: keys are independent, and the directory of any replica lists, holds and resets them", () =>
    apart(Effect.gen(function*() {
      const { makeKeyed } = yield* CircuitBreakers
      const [one, other] = [yield* makeKeyed(options), yield* makeKeyed(options)]
      const directory = yield* PolicyDirectory
      yield* directory.register(DirectoryEntry.keyedCircuit(other))
      for (let n = 0; n < 3; n++) yield* Effect.exit(protect(broken, one.at("a")))
      yield* protect(Effect.void, one.at("b"))
      assert.deepStrictEqual(
        (yield* directory.circuits).map(({ key, state }) => [key, state]),
        [["a", "Open"], ["b", "Closed"]]
      )
      yield* directory.reset({ breaker: "shared", key: "a" })
      yield* protect(Effect.void, one.at("a"))
      const held = yield* directory.force({ breaker: "shared", key: "never seen" }, "ForcedOpen")
      assert.deepInclude(held, { key: "never seen", state: "ForcedOpen" })
      assert.strictEqual((yield* Effect.flip(protect(Effect.void, one.at("never seen"))))._tag, "CircuitOpen")
    })).pipe(Effect.provide(Layer.merge(both, PolicyDirectory.layer), { local: true })))

  it.effect("settings that make no sense are refused", () =>
    apart(Effect.gen(function*() {
      const { makeKeyed } = yield* CircuitBreakers
      assert.lengthOf((yield* Effect.flip(makeKeyed({ ...options, openFor: 0, growth: 0 }))).problems, 2)
      assert.lengthOf((yield* Effect.flip(makeKeyed({ ...options, maxKeys: 0 }))).problems, 1)
      const store = SharedCircuitBreaker.make({ ...options, retryStoreAfter: Number.NaN })
      assert.lengthOf((yield* Effect.flip(store)).problems, 1)
    })).pipe(Effect.provide(both, { local: true })))
})
