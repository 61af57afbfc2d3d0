import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Context, Data, DateTime, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { Schema, Scope, Tracer } from "effect"
import { TestClock } from "effect/testing"
import type { Labelled } from "../../../src/resilience/cache/Labelled.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Deadline from "../../../src/resilience/Deadline.ts"
import * as SingleFlightCache from "../../../src/resilience/SingleFlightCache.ts"
import { apart, callsCounted, counted } from "../Counted.ts"

class Unavailable extends Data.TaggedError("Unavailable")<{ readonly load: number }> {}

const now = { startImmediately: true } as const

type Options = SingleFlightCache.SingleFlightCacheOptions<string, string, Unavailable, never>

/** A cache of strings by key, whose loads are numbered. */
const cacheOf = (load: (key: string, n: number) => Effect.Effect<string, Unavailable>, more?: Partial<Options>) => {
  let loads = 0
  const cache = SingleFlightCache.make<string, string, Unavailable>({
    name: "test",
    key: (key) => key,
    load: (key) => Effect.suspend(() => load(key, ++loads)),
    capacity: 100,
    timeToLive: "1 minute",
    ...more
  })
  return Effect.map(
    cache,
    (cache) => ({ cache, loads: () => loads, get: (key: string) => SingleFlightCache.get(cache, key) })
  )
}

const numbered = (key: string, n: number) => Effect.succeed(`${key}${n}`)
const slowly = (key: string, n: number) => Effect.as(Effect.sleep(10), `${key}${n}`)
const answersOf = counted("cache_answers_total", "answer")

describe("a cache with one load at a time", () => {
  it.effect("law 40: however many ask, one load serves them all, and those that ask later", () =>
    apart(Effect.gen(function*() {
      const { get, loads } = yield* cacheOf(slowly)
      const callers = yield* Effect.forEach(Array.from({ length: 100 }), () => Effect.forkChild(get("a"), now))
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Fiber.joinAll(callers), Array.from({ length: 100 }, () => "a1"))
      assert.strictEqual(yield* get("a"), "a1")
      const other = yield* Effect.forkChild(get("b"), now)
      yield* TestClock.adjust(10)
      assert.deepStrictEqual([yield* Fiber.join(other), loads()], ["b2", 2])
      assert.deepStrictEqual(yield* answersOf, { hit: 1, miss: 101, stale: 0, stale_on_error: 0 })
    })))

  it.effect("law 40: the load goes on while anybody waits, and ends with the last, who waits for its finalizers", () =>
    apart(Effect.gen(function*() {
      const events: Array<string> = []
      const { get } = yield* cacheOf(() =>
        Effect.never.pipe(
          Effect.onExit(() => Effect.andThen(Effect.sleep(5), Effect.sync(() => events.push("load"))))
        )
      )
      const caller = (name: string) =>
        Effect.forkChild(Effect.onExit(get("a"), () => Effect.sync(() => events.push(name))), now)
      const [first, second] = [yield* caller("first"), yield* caller("second")]
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(events, ["first"])
      yield* Effect.forkChild(Fiber.interrupt(second), now)
      assert.deepStrictEqual(events, ["first"])
      yield* TestClock.adjust(5)
      assert.deepStrictEqual(events, ["first", "load", "second"])
    })))

  it.effect("law 40: who comes while a load that nobody wants is ending waits for its end, then begins another", () =>
    apart(Effect.gen(function*() {
      // The first sleep on a test clock may be interrupted even in a finalizer, unless the clock was moved before.
      yield* TestClock.adjust(1)
      let running = 0
      const { get } = yield* cacheOf((key, n) =>
        Effect.acquireUseRelease(
          Effect.sync(() => assert.strictEqual(++running, 1)),
          () => n === 1 ? Effect.never : Effect.succeed(`${key}${n}`),
          () => Effect.andThen(Effect.sleep(5), Effect.sync(() => running--))
        )
      )
      const first = yield* Effect.forkChild(get("a"), now)
      yield* Effect.forkChild(Fiber.interrupt(first), now)
      const second = yield* Effect.forkChild(get("a"), now)
      const third = yield* Effect.forkChild(get("a"), now)
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* Fiber.joinAll([second, third]), ["a2", "a2"])
    })))

  it.effect.each(
    [
      ["an error", (n: number) => Effect.fail(new Unavailable({ load: n }))],
      ["a defect", () => Effect.die("defect")],
      ["an interruption", () => Effect.interrupt]
    ] satisfies ReadonlyArray<readonly [string, (n: number) => Effect.Effect<never, Unavailable>]>
  )("law 40: %s reaches all that wait, and is not kept", ([, ending]) =>
    apart(Effect.gen(function*() {
      const { cache, get, loads } = yield* cacheOf((key, n) =>
        n === 1 ? Effect.andThen(Effect.sleep(10), ending(n)) : numbered(key, n)
      )
      const callers = yield* Effect.forEach(Array.from({ length: 3 }), () => Effect.forkChild(get("a"), now))
      yield* TestClock.adjust(10)
      const tags = (exit: Exit.Exit<unknown, unknown>) =>
        Exit.isFailure(exit) ? exit.cause.reasons.map(({ _tag }) => _tag) : []
      const expected = tags(yield* Effect.exit(ending(1)))
      for (const exit of yield* Fiber.awaitAll(callers)) assert.deepStrictEqual(tags(exit), expected)
      assert.deepStrictEqual([loads(), cache.state.size], [1, 0])
      assert.strictEqual(yield* get("a"), "a2")
    })))

  it.effect.prop("law 40: a value lives for its time, from when its load began, and not a moment longer", [
    Schema.Literals([1, 7, 50]),
    Schema.Literals([0, 3, 20]),
    Schema.Array(Schema.Literals([0, 1, 2, 5, 30, 60])).check(Schema.isMaxLength(20))
  ], ([timeToLive, takes, pauses]) =>
    apart(Effect.gen(function*() {
      const { cache, loads } = yield* cacheOf((key, n) => Effect.as(Effect.sleep(takes), `${key}${n}`), {
        timeToLive
      })
      let loadedAt = -Infinity
      let expected = 0
      for (const pause of pauses) {
        yield* TestClock.adjust(pause)
        const askedAt = yield* Clock.currentTimeMillis
        const fiber = yield* Effect.forkChild(SingleFlightCache.getLabelled(cache, "a"), now)
        yield* TestClock.adjust(takes)
        if (askedAt - loadedAt >= timeToLive) {
          loadedAt = askedAt
          expected++
        }
        const answer = yield* Fiber.join(fiber)
        assert.deepStrictEqual([loads(), answer.value, answer.isStale], [expected, `a${expected}`, false])
        assert.strictEqual(DateTime.toEpochMillis(answer.asOf), loadedAt)
      }
    })), { arbitrary: { runs: 1_000 } })

  it.effect.prop("it keeps no more values than it may, those used latest", [
    Schema.Array(Schema.Literals(["a", "b", "c", "d", "e"])).check(Schema.isMaxLength(60)),
    Schema.Literals([1, 2, 3])
  ], ([keys, capacity]) =>
    apart(Effect.gen(function*() {
      const { cache, get, loads } = yield* cacheOf(numbered, { capacity })
      let kept: ReadonlyArray<string> = []
      let expected = 0
      let evicted = 0
      for (const key of keys) {
        if (!kept.includes(key)) expected++
        const used = [...kept.filter((other) => other !== key), key]
        evicted += Math.max(0, used.length - capacity)
        kept = used.slice(-capacity)
        yield* get(key)
        assert.deepStrictEqual([loads(), cache.state.size], [expected, kept.length])
      }
      assert.deepStrictEqual(yield* counted("cache_evictions_total"), { "": evicted })
    })), { arbitrary: { runs: 1_000 } })

  it.effect("law 40: what was forgotten while it was loaded reaches those that wait, and is not kept", () =>
    apart(Effect.gen(function*() {
      for (const forget of ["one", "all of a kind"]) {
        const { cache, get, loads } = yield* cacheOf(slowly)
        const before = yield* Effect.forkChild(get("a"), now)
        yield* TestClock.adjust(5)
        yield* forget === "one"
          ? SingleFlightCache.forget(cache, "a")
          : SingleFlightCache.forgetWhere(cache, (value) => value === "something else")
        const after = yield* Effect.forkChild(get("a"), now)
        yield* TestClock.adjust(5)
        assert.strictEqual(yield* Fiber.join(before), "a1")
        assert.deepStrictEqual([cache.state.size, cache.state.loading], [0, 1])
        const late = yield* Effect.forkChild(get("a"), now)
        yield* TestClock.adjust(5)
        assert.deepStrictEqual(yield* Fiber.joinAll([after, late]), ["a2", "a2"])
        assert.deepStrictEqual([yield* get("a"), loads()], ["a2", 2])
        assert.strictEqual(cache.state.loading, 0)
      }
    })))

  it.effect("values that a predicate holds for are forgotten, and no others", () =>
    apart(Effect.gen(function*() {
      const { cache, get, loads } = yield* cacheOf(numbered)
      for (const key of ["a", "b", "c"]) yield* get(key)
      yield* SingleFlightCache.forgetWhere(cache, (value) => value !== "b2")
      assert.deepStrictEqual([yield* get("b"), yield* get("a"), loads()], ["b2", "a4", 4])
    })))

  it.effect("a load has nothing of the caller that began it but its trace", () =>
    apart(Effect.gen(function*() {
      const Tenant = Context.Reference<string>("test/Tenant", { defaultValue: () => "nobody" })
      const seen: Array<unknown> = []
      const { get } = yield* cacheOf((key, n) =>
        Effect.gen(function*() {
          const span = yield* Effect.serviceOption(Tracer.ParentSpan)
          seen.push(yield* Tenant, yield* Deadline.remainingMillis, span._tag === "Some" ? span.value.spanId : "none")
          return yield* slowly(key, n)
        })
      ).pipe(Effect.provideService(Tenant, "the cache"))
      const span = Tracer.externalSpan({ spanId: "span", traceId: "trace" })
      const caller = get("a").pipe(
        Effect.provideService(Tenant, "a caller"),
        Effect.provideService(Tracer.ParentSpan, span),
        Deadline.within(5)
      )
      const first = yield* Effect.forkChild(Effect.exit(caller), now)
      const second = yield* Effect.forkChild(get("a"), now)
      yield* TestClock.adjust(10)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(first)))
      assert.strictEqual(yield* Fiber.join(second), "a1")
      assert.deepStrictEqual(seen, ["the cache", Infinity, "span"])
    })))

  it.effect("law 45: loads end with the cache's scope, and those that wait learn it", () =>
    apart(Effect.gen(function*() {
      const scope = yield* Scope.make()
      const ended = yield* Deferred.make<void>()
      const { get } = yield* cacheOf(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, undefined)))
        .pipe(Effect.provideService(Scope.Scope, scope))
      const caller = yield* Effect.forkChild(get("a"), now)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(ended)
      for (const exit of [yield* Fiber.await(caller), yield* Effect.exit(get("b"))]) {
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      }
    })))
})

describe("stale values", () => {
  it.effect("law 40: none is served where none was asked for", () =>
    apart(Effect.gen(function*() {
      const { cache, get } = yield* cacheOf((key, n) => n === 1 ? numbered(key, n) : new Unavailable({ load: n }))
      yield* get("a")
      yield* TestClock.adjust("1 minute")
      assert.instanceOf(yield* Effect.flip(SingleFlightCache.getLabelled(cache, "a")), Unavailable)
    })))

  it.effect("law 40: while it is loaded anew, the old value is served at once, labelled, for its time", () =>
    apart(Effect.gen(function*() {
      const { cache, loads } = yield* cacheOf(slowly, { staleWhileRevalidate: "30 seconds" })
      const ask = Effect.forkChild(SingleFlightCache.getLabelled(cache, "a"), now)
      const first = yield* ask
      yield* TestClock.adjust(10)
      assert.strictEqual((yield* Fiber.join(first)).value, "a1")
      yield* TestClock.adjust(59_990)
      const stale: ReadonlyArray<Labelled<string>> = yield* Fiber.joinAll([yield* ask, yield* ask])
      const old = {
        value: "a1",
        asOf: DateTime.makeUnsafe(0),
        age: Duration.minutes(1),
        isStale: true
      }
      assert.deepStrictEqual(stale, [old, old])
      assert.strictEqual(loads(), 2)
      yield* TestClock.adjust(10)
      assert.deepInclude(yield* Fiber.join(yield* ask), { value: "a2", isStale: false })
      yield* TestClock.adjust(90_000)
      const late = yield* ask
      assert.isUndefined(late.pollUnsafe())
      yield* TestClock.adjust(10)
      assert.strictEqual((yield* Fiber.join(late)).value, "a3")
      assert.deepStrictEqual(yield* answersOf, { hit: 1, miss: 2, stale: 2, stale_on_error: 0 })
    })))

  it.effect("law 40: a load in the background that fails leaves the old value, and the next caller begins another", () =>
    apart(Effect.gen(function*() {
      const { get, loads } = yield* cacheOf((key, n) => n === 2 ? new Unavailable({ load: n }) : numbered(key, n), {
        staleWhileRevalidate: "30 seconds"
      })
      yield* get("a")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([yield* get("a"), loads()], ["a1", 2])
      assert.deepStrictEqual([yield* get("a"), loads()], ["a1", 3])
      assert.strictEqual(yield* get("a"), "a3")
    })))

  it.effect("law 40: a load in the background that hangs is kept only while the old value is served", () =>
    apart(Effect.gen(function*() {
      let interrupted = 0
      const { cache, get, loads } = yield* cacheOf(
        (key, n) =>
          n === 2 ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++)) : numbered(key, n),
        { staleWhileRevalidate: "30 seconds" }
      )
      yield* get("a")
      yield* TestClock.adjust("80 seconds")
      assert.deepStrictEqual([yield* get("a"), loads(), cache.state.loading], ["a1", 2, 1])
      yield* TestClock.adjust("20 seconds")
      const caller = yield* Effect.forkChild(get("a"), now)
      assert.deepStrictEqual([caller.pollUnsafe(), loads(), interrupted], [undefined, 2, 0])
      yield* Fiber.interrupt(caller)
      assert.deepStrictEqual([interrupted, cache.state.loading], [1, 0])
      assert.strictEqual(yield* get("a"), "a3")
    })))

  it.effect("law 40: in place of an error that is covered, for its time, labelled; never in place of a defect", () =>
    apart(Effect.gen(function*() {
      const { cache, get } = yield* cacheOf((key, n) => {
        if (n === 1) return numbered(key, n)
        return n === 5 ? Effect.die("defect") : Effect.andThen(Effect.sleep(10), new Unavailable({ load: n }))
      }, { staleIfError: { within: "1 minute", when: ({ load }) => load !== 3 } })
      yield* get("a")
      yield* TestClock.adjust("1 minute")
      const asked = () =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(Effect.exit(SingleFlightCache.getLabelled(cache, "a")), now)
          yield* TestClock.adjust(10)
          return yield* Fiber.join(fiber)
        })
      assert.deepStrictEqual(
        yield* asked(),
        Exit.succeed({ value: "a1", asOf: DateTime.makeUnsafe(0), age: Duration.millis(60_010), isStale: true })
      )
      assert.deepStrictEqual(yield* asked(), Exit.fail(new Unavailable({ load: 3 })))
      assert.isTrue(Exit.isSuccess(yield* asked()))
      assert.deepStrictEqual(yield* asked(), Exit.die("defect"))
      yield* TestClock.adjust("59 seconds")
      assert.isTrue(Exit.isSuccess(yield* asked()))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* asked(), Exit.fail(new Unavailable({ load: 7 })))
      assert.deepStrictEqual(yield* answersOf, { hit: 0, miss: 1, stale: 0, stale_on_error: 3 })
    })))

  it.effect("law 44: a load that was refused does not trip an outer breaker", () =>
    apart(Effect.gen(function*() {
      const trip = { _tag: "ConsecutiveFailures", failures: 1 } as const
      const [inner, outer] = [
        yield* CircuitBreaker.make({ name: "inner", trip }),
        yield* CircuitBreaker.make({ name: "outer", trip })
      ]
      yield* inner.force("ForcedOpen")
      const cache = yield* SingleFlightCache.make({
        name: "test",
        key: (key: string) => key,
        load: () => CircuitBreaker.protect(Effect.void, inner),
        capacity: 1,
        timeToLive: "1 minute"
      })
      for (let n = 0; n < 5; n++) {
        yield* Effect.exit(SingleFlightCache.get(cache, "a").pipe(CircuitBreaker.protect(outer)))
      }
      assert.strictEqual((yield* outer.snapshot).state, "Closed")
      assert.strictEqual((yield* callsCounted("cache_calls")).rejected, 5)
    })))
})
