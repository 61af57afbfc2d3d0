import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Data,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Metric,
  Random,
  Ref,
  Scheduler,
  Schema,
  Stream
} from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import { ignoring } from "../../../src/resilience/circuit/CircuitRun.ts"
import type { CircuitOpen } from "../../../src/resilience/circuit/CircuitRun.ts"
import type { CircuitOptions, TripPolicy } from "../../../src/resilience/circuit/CircuitSettings.ts"
import type { ForcedMode } from "../../../src/resilience/circuit/CircuitState.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import type { InvalidSettings } from "../../../src/resilience/InvalidSettings.ts"
import * as Timeout from "../../../src/resilience/Timeout.ts"
import { PausesAt } from "../PausesAt.ts"

class Broken extends Data.TaggedError("Broken")<{ readonly fault: "theirs" | "ours" }> {}

const theirs = Effect.fail(new Broken({ fault: "theirs" }))
const ours = Effect.fail(new Broken({ fault: "ours" }))
const consecutive = (failures: number): TripPolicy => ({ _tag: "ConsecutiveFailures", failures })

const options = (more?: Partial<CircuitOptions>): CircuitOptions => ({
  name: "test",
  trip: consecutive(2),
  openFor: "1 second",
  ...more
})

const opened = Effect.fnUntraced(function*(more?: Partial<CircuitOptions>) {
  const breaker = yield* CircuitBreaker.make(options(more))
  while ((yield* breaker.snapshot).state === "Closed") yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
  return breaker
})

const stateOf = (breaker: CircuitBreaker.CircuitBreaker) => Effect.map(breaker.snapshot, ({ state }) => state)

/** The counts of the breaker's metrics, by outcome; `permits` and the like by the end of their name. */
const metrics = Effect.map(
  Metric.snapshot,
  (all) =>
    Object.fromEntries(all.flatMap((one) =>
      one.type === "Counter" && one.id.startsWith("circuit_breaker_")
        ? [[one.attributes?.["outcome"] ?? one.id.replace("circuit_breaker_", ""), Number(one.state.count)]]
        : []
    ))
)

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(effect).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

describe("a call through a circuit breaker", () => {
  it.effect("law 18: nothing runs while the circuit is open, and a rejection is not an outcome", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* opened()
      const ran = yield* Ref.make(0)
      for (let n = 0; n < 10; n++) {
        const error = yield* Effect.flip(CircuitBreaker.protect(Ref.update(ran, (n) => n + 1), breaker))
        assert.deepStrictEqual([error._tag, error.retryAfter], ["CircuitOpen", Duration.seconds(1)])
      }
      assert.strictEqual(yield* Ref.get(ran), 0)
      assert.deepInclude(yield* metrics, { rejected: 10, failed: 2, permits_total: 2 })
      yield* TestClock.adjust("1 second")
      yield* CircuitBreaker.protect(Effect.void, breaker)
      assert.strictEqual(yield* stateOf(breaker), "Closed")
    })))

  it.effect("law 20: a late success from before the opening does not close the circuit", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(options())
      const answer = yield* Deferred.make<void>()
      const late = yield* Effect.forkChild(CircuitBreaker.protect(Deferred.await(answer), breaker), {
        startImmediately: true
      })
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      assert.strictEqual(yield* stateOf(breaker), "Open")
      yield* TestClock.adjust("1 second")
      const probe = yield* Effect.forkChild(CircuitBreaker.protect(Effect.never, breaker), { startImmediately: true })
      assert.strictEqual(yield* stateOf(breaker), "HalfOpen")
      yield* Deferred.succeed(answer, undefined)
      yield* Fiber.join(late)
      assert.strictEqual(yield* stateOf(breaker), "HalfOpen")
      assert.deepInclude(yield* metrics, { late_results_total: 1 })
      yield* Fiber.interrupt(probe)
    })))

  it.effect("law 21: a probe that hangs loses its place when its lease has passed", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* opened({ halfOpen: { lease: "10 seconds" } })
      yield* TestClock.adjust("1 second")
      const hanging = yield* Effect.forkChild(CircuitBreaker.protect(Effect.never, breaker), { startImmediately: true })
      const error = yield* Effect.flip(CircuitBreaker.protect(Effect.void, breaker))
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(10))
      yield* TestClock.adjust("10 seconds")
      yield* CircuitBreaker.protect(Effect.void, breaker)
      assert.strictEqual(yield* stateOf(breaker), "Closed")
      yield* Fiber.interrupt(hanging)
      assert.strictEqual(yield* stateOf(breaker), "Closed")
    })))

  type Probe = Effect.Effect<void, Broken | CircuitOpen | InvalidSettings, Scope.Scope>
  const probes: ReadonlyArray<readonly [name: string, probe: Probe]> = [
    ["is interrupted", Effect.interrupt],
    ["is ignored", ours],
    [
      "is refused inside",
      Effect.flatMap(opened({ name: "inner" }), (inner) => CircuitBreaker.protect(Effect.void, inner))
    ]
  ]
  it.effect.each(probes)(
    "law 21: a probe that %s gives its place back at once",
    ([, probe]) =>
      scoped(Effect.gen(function*() {
        const breaker = yield* opened()
        yield* TestClock.adjust("1 second")
        yield* Effect.exit(CircuitBreaker.protect(probe, breaker, {
          classify: ignoring((error) => error instanceof Broken && error.fault === "ours")
        }))
        assert.strictEqual(yield* stateOf(breaker), "HalfOpen")
        yield* CircuitBreaker.protect(Effect.void, breaker)
        assert.strictEqual(yield* stateOf(breaker), "Closed")
      }))
  )

  it.effect("law 21: a probe that dies opens the circuit again, for longer", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* opened()
      yield* TestClock.adjust("1 second")
      yield* Effect.exit(CircuitBreaker.protect(Effect.die("defect"), breaker))
      assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, Duration.seconds(2))
    })))

  it.effect("law 21: a classification that throws keeps no place, and its defect is seen", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* opened()
      yield* TestClock.adjust("1 second")
      const exit = yield* Effect.exit(CircuitBreaker.protect(Effect.void, breaker, {
        classify: () => {
          throw new Error("a bug in the classification")
        }
      }))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      yield* CircuitBreaker.protect(Effect.void, breaker)
      assert.strictEqual(yield* stateOf(breaker), "Closed")
    })))

  it.effect("law 23: slow successes open the circuit", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(options({
        trip: {
          _tag: "Rates",
          window: { _tag: "Calls", size: 4 },
          minimumCalls: 2,
          slowCalls: { after: "100 millis", rate: 1 }
        }
      }))
      for (let n = 0; n < 2; n++) {
        const call = yield* Effect.forkChild(CircuitBreaker.protect(Effect.sleep("100 millis"), breaker), {
          startImmediately: true
        })
        yield* TestClock.adjust("100 millis")
        yield* Fiber.join(call)
      }
      assert.strictEqual(yield* stateOf(breaker), "Open")
    })))

  it.effect.each<readonly [name: string, call: Effect.Effect<void, Broken | Timeout.TimedOut>, state: string]>([
    ["an error", theirs, "Open"],
    ["a defect", Effect.die("defect"), "Open"],
    ["a timeout", Timeout.timeout(Effect.never, "1 second"), "Open"],
    ["an interruption", Effect.interrupt, "Closed"],
    ["a success", Effect.void, "Closed"]
  ])("law 22: %s counts as it should", ([, call, state]) =>
    scoped(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(options({ trip: consecutive(1) }))
      const fiber = yield* Effect.forkChild(CircuitBreaker.protect(call, breaker), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* Fiber.await(fiber)
      assert.strictEqual(yield* stateOf(breaker), state)
      assert.deepInclude(yield* metrics, { permits_total: 1 })
    })))

  it.effect("law 44: an inner rejection does not trip an outer breaker", () =>
    scoped(Effect.gen(function*() {
      const inner = yield* opened({ name: "inner" })
      const outer = yield* CircuitBreaker.make(options({ name: "outer", trip: consecutive(1) }))
      for (let n = 0; n < 5; n++) {
        yield* Effect.exit(Effect.void.pipe(CircuitBreaker.protect(inner), CircuitBreaker.protect(outer)))
      }
      assert.strictEqual(yield* stateOf(outer), "Closed")
    })))
})

describe("many calls at once", () => {
  const Ending = Schema.Literals(["succeeds", "fails", "dies", "is ignored", "is interrupted", "hangs"])
  const Call = Schema.Struct({
    ending: Ending,
    yields: Schema.Literals([0, 1, 2, 3]),
    after: Schema.Literals([0, 1, 5, 20, 60])
  })
  const Calls = Schema.Array(Call).check(Schema.isMinLength(8), Schema.isMaxLength(40))
  const Seed = Schema.Literals([1, 2, 3, 4, 5, 6, 7, 8])

  const work = (call: typeof Call.Type, running: Ref.Ref<number>) => {
    const steps = Effect.gen(function*() {
      for (let n = 0; n < call.yields; n++) yield* Effect.yieldNow
      if (call.after > 0) yield* Effect.sleep(call.after)
      switch (call.ending) {
        case "succeeds":
          return
        case "fails":
          return yield* theirs
        case "is ignored":
          return yield* ours
        case "dies":
          return yield* Effect.die("defect")
        case "is interrupted":
        case "hangs":
          return yield* Effect.never
      }
    })
    return Effect.acquireUseRelease(
      Ref.updateAndGet(running, (n) => n + 1),
      () => steps,
      () => Ref.update(running, (n) => n - 1)
    )
  }

  it.effect.prop(
    "law 22, law 46: permits = recorded + ignored + interrupted, calls = these + rejected, in the metrics too",
    [Calls, Seed],
    ([calls, seed]) =>
      scoped(Effect.gen(function*() {
        const breaker = yield* CircuitBreaker.make(options({ openFor: "10 millis", halfOpen: { lease: "30 millis" } }))
        const running = yield* Ref.make(0)
        const ran = yield* Ref.make(0)
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        for (const call of calls) {
          const fiber = yield* Effect.forkChild(
            CircuitBreaker.protect(Effect.andThen(Ref.update(ran, (n) => n + 1), work(call, running)), breaker, {
              classify: ignoring((error) => error.fault === "ours")
            })
          )
          fibers.push(fiber)
          const turns = yield* Random.nextIntBetween(0, 4)
          for (let n = 0; n < turns; n++) yield* Effect.yieldNow
          if (call.ending === "is interrupted") yield* Fiber.interrupt(fiber)
          yield* TestClock.adjust(yield* Random.nextIntBetween(0, 12))
        }
        yield* TestClock.adjust("1 second")
        yield* Fiber.interruptAll(fibers)
        const counted = yield* metrics
        const { failed = 0, ignored = 0, interrupted = 0, permits_total = 0, rejected = 0, succeeded = 0 } = counted
        assert.strictEqual(yield* Ref.get(running), 0)
        assert.strictEqual(permits_total, succeeded + failed + ignored + interrupted)
        assert.isAtMost(yield* Ref.get(ran), permits_total)
        // A fiber that was interrupted before its first step never called.
        assert.isAtMost(permits_total + rejected, calls.length)
        // No place is lost to anything that happened: after the open time and a lease a probe gets through.
        yield* TestClock.adjust("2 minutes")
        yield* CircuitBreaker.protect(Effect.void, breaker)
      })).pipe(Random.withSeed(seed)),
    { arbitrary: { runs: 300 } }
  )

  it.effect.prop(
    "law 19: at most N probes run, however the calls interleave",
    [Calls, Seed, Schema.Literals([1, 2, 3])],
    ([calls, seed, probes]) =>
      scoped(Effect.gen(function*() {
        const breaker = yield* opened({ halfOpen: { probes, successes: 40, lease: "1 hour" } })
        yield* TestClock.adjust("1 second")
        const running = yield* Ref.make(0)
        const most = yield* Ref.make(0)
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        for (const call of calls) {
          const probe = Effect.andThen(
            work(call.ending === "fails" || call.ending === "dies" ? { ...call, ending: "is ignored" } : call, running),
            Effect.void
          )
          const watched = Effect.andThen(
            Effect.suspend(() => Effect.flatMap(Ref.get(running), (n) => Ref.update(most, (m) => Math.max(m, n + 1)))),
            probe
          )
          fibers.push(
            yield* Effect.forkChild(CircuitBreaker.protect(watched, breaker, {
              classify: ignoring((error) => error.fault === "ours")
            }))
          )
          const turns = yield* Random.nextIntBetween(0, 4)
          for (let n = 0; n < turns; n++) yield* Effect.yieldNow
          if (call.ending === "is interrupted") yield* Effect.forEach(fibers.slice(-1), Fiber.interrupt)
          if (turns === 3) yield* TestClock.adjust(20)
        }
        assert.isAtMost(yield* Ref.get(most), probes)
        assert.strictEqual(yield* stateOf(breaker), "HalfOpen")
        yield* Fiber.interruptAll(fibers)
      })).pipe(Random.withSeed(seed)),
    { arbitrary: { runs: 200 } }
  )

  it.effect("law 45: interrupted at any step, a call leaves no permit behind", () =>
    scoped(Effect.gen(function*() {
      for (let step = 1; step <= 24; step++) {
        const breaker = yield* opened({ halfOpen: { lease: "1 hour" } })
        yield* TestClock.adjust("1 second")
        const call = CircuitBreaker.protect(Effect.never, breaker).pipe(
          Effect.provideService(Scheduler.Scheduler, new PausesAt(step))
        )
        yield* Fiber.interrupt(yield* Effect.forkChild(call, { startImmediately: true }))
        yield* CircuitBreaker.protect(Effect.void, breaker)
        assert.strictEqual(yield* stateOf(breaker), "Closed")
      }
    })))
})

describe("an operator", () => {
  const modes: ReadonlyArray<ForcedMode> = ["ForcedOpen", "ForcedClosed", "Disabled", "MetricsOnly"]
  it.effect.each(modes)("law 24: %s dominates until it is reset", (mode) =>
    scoped(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(options())
      yield* breaker.force(mode)
      for (let n = 0; n < 5; n++) {
        const exit = yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
        const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
        assert.strictEqual(error instanceof Broken, mode !== "ForcedOpen")
        assert.strictEqual(yield* stateOf(breaker), mode)
      }
      assert.strictEqual((yield* breaker.snapshot).calls.failures, mode === "MetricsOnly" ? 5 : 0)
      const { failed, permits_total, rejected } = yield* metrics
      const counted = mode === "Disabled" ? [0, 0, 0] : mode === "ForcedOpen" ? [0, 0, 5] : [5, 5, 0]
      assert.deepStrictEqual([failed, permits_total, rejected], counted)
      yield* breaker.reset
      assert.deepInclude(yield* breaker.snapshot, { state: "Closed", calls: { calls: 0, failures: 0, slow: 0 } })
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      assert.strictEqual(yield* stateOf(breaker), "Closed")
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      assert.strictEqual(yield* stateOf(breaker), "Open")
    })))

  it.effect("law 46: the stream of transitions rebuilds the state", () =>
    scoped(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make(options())
      const seen: Array<string> = []
      const listener = yield* Effect.forkChild(
        Stream.runForEach(breaker.transitions, ({ from, generation, to }) =>
          Effect.sync(() => {
            seen.push(`${generation}: ${from} → ${to}`)
          })),
        { startImmediately: true }
      )
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      yield* TestClock.adjust("1 second")
      yield* Effect.exit(CircuitBreaker.protect(theirs, breaker))
      yield* TestClock.adjust("2 seconds")
      yield* CircuitBreaker.protect(Effect.void, breaker)
      yield* breaker.force("ForcedOpen")
      yield* breaker.reset
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(seen, [
        "2: Closed → Open",
        "3: Open → HalfOpen",
        "4: HalfOpen → Open",
        "5: Open → HalfOpen",
        "6: HalfOpen → Closed",
        "7: Closed → ForcedOpen",
        "8: ForcedOpen → Closed"
      ])
      yield* Fiber.interrupt(listener)
    })))
})

describe("a keyed breaker", () => {
  it.effect("keys are independent, and found again", () =>
    scoped(Effect.gen(function*() {
      const breakers = yield* CircuitBreaker.makeKeyed(options())
      yield* Effect.exit(CircuitBreaker.protect(theirs, breakers.at("a")))
      yield* CircuitBreaker.protect(Effect.void, breakers.at("b"))
      yield* Effect.exit(CircuitBreaker.protect(theirs, breakers.at("a")))
      const states = (yield* breakers.list).map(({ key, state }) => `${key} ${state}`)
      assert.sameMembers(states, ["a Open", "b Closed"])
      assert.strictEqual((yield* Effect.flip(CircuitBreaker.protect(Effect.void, breakers.at("a")))).key, "a")
    })))

  it.effect("memory is bounded, and closed circuits leave before open and held ones", () =>
    scoped(Effect.gen(function*() {
      const breakers = yield* CircuitBreaker.makeKeyed({ ...options({ trip: consecutive(1) }), maxKeys: 10 })
      yield* Effect.exit(CircuitBreaker.protect(theirs, breakers.at("broken")))
      yield* breakers.at("held").force("ForcedOpen")
      for (let n = 0; n < 1_000; n++) yield* CircuitBreaker.protect(Effect.void, breakers.at(`key ${n}`))
      assert.strictEqual(yield* stateOf(breakers.at("never seen")), "Closed")
      const known = yield* breakers.list
      assert.notInclude(known.map(({ key }) => key), "never seen")
      assert.strictEqual(known.length, 10)
      assert.includeMembers(known.map(({ key, state }) => `${key} ${state}`), ["broken Open", "held ForcedOpen"])
      for (let n = 0; n < 1_000; n++) yield* Effect.exit(CircuitBreaker.protect(theirs, breakers.at(`other ${n}`)))
      assert.isAtMost((yield* breakers.list).length, 10)
      assert.strictEqual(yield* stateOf(breakers.at("held")), "ForcedOpen")
    })))
})

describe("a clock", () => {
  it.effect("that is set back stretches no open time", () =>
    scoped(Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let offset = 0
      const stepping: Clock.Clock = {
        ...clock,
        sleep: (duration) => clock.sleep(duration),
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + offset,
        currentTimeMillis: Effect.suspend(() => Effect.succeed(clock.currentTimeMillisUnsafe() + offset))
      }
      yield* Effect.gen(function*() {
        const breaker = yield* opened()
        offset = -3_600_000
        assert.deepStrictEqual((yield* breaker.snapshot).retryAfter, Duration.seconds(1))
        yield* TestClock.adjust("1 second")
        yield* CircuitBreaker.protect(Effect.void, breaker)
      }).pipe(Effect.provideService(Clock.Clock, stepping))
    })))
})

describe("settings", () => {
  it.effect("that make no sense are refused, all at once", () =>
    scoped(Effect.gen(function*() {
      const error = yield* Effect.flip(CircuitBreaker.make({
        name: "nonsense",
        trip: {
          _tag: "Rates",
          window: { _tag: "Calls", size: Number.NaN },
          minimumCalls: 0,
          failureRate: 1.5,
          slowCalls: { after: 0, rate: -1 }
        },
        openFor: 0,
        openForAtMost: Infinity,
        growth: 0.5,
        stableAfter: -1,
        halfOpen: { probes: 0, successes: 1.5, lease: Number.NaN }
      }))
      const about = [
        "window.size",
        "minimumCalls",
        "failureRate",
        "slowCalls.rate",
        "slowCalls.after",
        "openFor ",
        "openForAtMost",
        "growth",
        "stableAfter",
        "probes",
        "successes",
        "lease"
      ]
      for (const name of about) assert.isTrue(error.problems.some((problem) => problem.includes(name)), name)
      assert.strictEqual(error._tag, "InvalidSettings")
    })))
})

describe("types", () => {
  it("law 39: the rejection joins the errors, in both forms, and nothing else changes", () => {
    const check = (breaker: CircuitBreaker.CircuitBreaker, call: Effect.Effect<string, Broken, Scope.Scope>) => {
      expectTypeOf(CircuitBreaker.protect(call, breaker)).toEqualTypeOf<
        Effect.Effect<string, Broken | CircuitOpen, Scope.Scope>
      >()
      expectTypeOf(call.pipe(CircuitBreaker.protect(breaker))).toEqualTypeOf<
        Effect.Effect<string, Broken | CircuitOpen, Scope.Scope>
      >()
      expectTypeOf(call.pipe(CircuitBreaker.protect(breaker), Effect.catchTag("CircuitOpen", () => Effect.succeed(""))))
        .toEqualTypeOf<Effect.Effect<string, Broken, Scope.Scope>>()
    }
    assert.isFunction(check)
  })
})
