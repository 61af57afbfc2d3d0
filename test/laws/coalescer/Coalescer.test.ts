import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Coalescer from "../../../src/resilience/Coalescer.ts"

const now = { startImmediately: true } as const

type Run = (keys: ReadonlyArray<string>, run: number) => Effect.Effect<(key: string) => string, string>

/** Keys are their own requests. The keys of each run are noted, and how many runs there were at once. */
const coalescerOf = Effect.fnUntraced(function*(run: Run, options = { most: 100, atOnce: 1 }) {
  const runs: Array<ReadonlyArray<string>> = []
  const atOnce = { now: 0, most: 0 }
  const ask = yield* Coalescer.make<string, string, string, never>({
    ...options,
    key: (key) => key,
    run: (keys) =>
      Effect.suspend(() => {
        runs.push(keys)
        atOnce.most = Math.max(atOnce.most, ++atOnce.now)
        return Effect.onExit(run(keys, runs.length), () =>
          Effect.sync(() => {
            atOnce.now--
          }))
      })
  })
  return { ask, runs, atOnce }
})

const numbered: Run = (_, run) => Effect.succeed((key) => `${key}${run}`)
const slowly: Run = (keys, run) => Effect.delay(numbered(keys, run), 10)

const Step = Schema.Union([
  Schema.Struct({ do: Schema.Literal("ask"), key: Schema.Literals(["a", "b", "c", "d"]) }),
  Schema.Struct({ do: Schema.Literal("change") }),
  Schema.Struct({ do: Schema.Literal("leave"), who: Schema.Literals([0, 1, 2, 3, 5, 8]) }),
  Schema.Struct({ do: Schema.Literal("pass"), millis: Schema.Literals([0, 1, 3, 10, 25]) })
])
const Steps = Schema.Array(Step).check(Schema.isMaxLength(60))
const Options = Schema.Struct({ most: Schema.Literals([1, 2, 100]), atOnce: Schema.Literals([1, 2, 3]) })

describe("what is asked at the same moment", () => {
  it.effect("is asked once, each key for all that have it", () =>
    Effect.gen(function*() {
      const { ask, runs } = yield* coalescerOf(numbered)
      const answers = yield* Effect.forEach(["a", "b", "a", "a", "b"], ask, { concurrency: "unbounded" })
      assert.deepStrictEqual(answers, ["a1", "b1", "a1", "a1", "b1"])
      assert.deepStrictEqual(runs, [["a", "b"]])
      assert.strictEqual(yield* ask("a"), "a2")
    }))

  it.effect("and what is asked while a run is under way, by the next one", () =>
    Effect.gen(function*() {
      const { ask, runs } = yield* coalescerOf(slowly)
      const first = yield* Effect.forkChild(ask("a"), now)
      yield* TestClock.adjust(5)
      const second = yield* Effect.forkChild(Effect.all([ask("a"), ask("b")], { concurrency: "unbounded" }), now)
      yield* TestClock.adjust(20)
      assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], ["a1", ["a2", "b2"]])
      assert.deepStrictEqual(runs, [["a"], ["a", "b"]])
    }))

  it.effect.prop(
    "is answered by what holds after it was asked, whatever comes in between; runs have their bounds, and leave nothing",
    { steps: Steps, options: Options },
    ({ steps, options }) =>
      Effect.gen(function*() {
        let value = 0
        const read: Run = () =>
          Effect.suspend(() => {
            const seen = value
            return Effect.as(Effect.sleep(7), (key: string) => `${key} ${seen}`)
          })
        const { ask, runs, atOnce } = yield* coalescerOf(read, options)
        const callers: Array<{ key: string; asked: number; left: boolean; fiber: Fiber.Fiber<string, string> }> = []
        for (const step of steps) {
          if (step.do === "change") value++
          else if (step.do === "pass") yield* TestClock.adjust(step.millis)
          else if (step.do === "leave") {
            const caller = callers[step.who]
            if (caller !== undefined) {
              caller.left = true
              yield* Fiber.interrupt(caller.fiber)
            }
          } else {
            const fiber = yield* Effect.forkChild(ask(step.key), now)
            callers.push({ key: step.key, asked: value, left: false, fiber })
          }
        }
        yield* TestClock.adjust(10 * 7 * (callers.length + 1))
        for (const { key, asked, left, fiber } of callers) {
          const exit = yield* Fiber.await(fiber)
          if (left && Exit.isFailure(exit)) continue
          assert.isTrue(Exit.isSuccess(exit))
          const [answered, seen] = (Exit.isSuccess(exit) ? exit.value : "").split(" ")
          assert.strictEqual(answered, key)
          assert.isAtLeast(Number(seen), asked)
        }
        assert.isAtMost(atOnce.most, options.atOnce)
        assert.strictEqual(atOnce.now, 0)
        for (const keys of runs) {
          assert.isAtMost(keys.length, options.most)
          assert.strictEqual(new Set(keys).size, keys.length)
        }
      }),
    { arbitrary: { runs: 200 } }
  )

  it.effect("fails as one, and is asked anew after that", () =>
    Effect.gen(function*() {
      const { ask } = yield* coalescerOf((keys, run) => run === 1 ? Effect.fail("away") : numbered(keys, run))
      const failed = yield* Effect.forEach(["a", "b", "a"], (key) => Effect.flip(ask(key)), {
        concurrency: "unbounded"
      })
      assert.deepStrictEqual(failed, ["away", "away", "away"])
      assert.strictEqual(yield* ask("a"), "a2")
    }))

  it.effect("has a defect of its run, and is asked anew after that", () =>
    Effect.gen(function*() {
      const { ask } = yield* coalescerOf((keys, run) => run === 1 ? Effect.die("broken") : numbered(keys, run))
      const exit = yield* Effect.exit(ask("a"))
      assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.strictEqual(yield* ask("a"), "a2")
    }))

  it.effect("law 45: goes on for the others when one leaves, and is not asked at all when all have left", () =>
    Effect.gen(function*() {
      const { ask, runs } = yield* coalescerOf(slowly)
      const [one, other] = [yield* Effect.forkChild(ask("a"), now), yield* Effect.forkChild(ask("a"), now)]
      yield* TestClock.adjust(5)
      const late = yield* Effect.forkChild(ask("b"), now)
      yield* Fiber.interrupt(one)
      yield* Fiber.interrupt(late)
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* Fiber.join(other), "a1")
      assert.deepStrictEqual(runs, [["a"]])
      const again = yield* Effect.forkChild(ask("b"), now)
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* Fiber.join(again), "b2")
    }))

  it.effect("law 45: ends with the scope, before and while it is asked, and nobody waits for ever", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const interrupted = yield* Deferred.make<void>()
      const { ask } = yield* Scope.provide(
        coalescerOf(() => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))),
        scope
      )
      const waiting = yield* Effect.forkChild(ask("a"), now)
      yield* TestClock.adjust(1)
      const next = yield* Effect.forkChild(ask("b"), now)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(interrupted)
      for (const fiber of [waiting, next, yield* Effect.forkChild(ask("c"), now)]) {
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
      }
    }))
})
