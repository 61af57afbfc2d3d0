import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Data, Duration, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { Labelled } from "../../../src/resilience/cache/Labelled.ts"
import * as LastAnswers from "../../../src/resilience/LastAnswers.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { apart, callsCounted, counted } from "../Counted.ts"

class Down extends Data.TaggedError("Down")<{ readonly isCovered: boolean }> {}

const now = { startImmediately: true } as const
const made = (more?: Partial<LastAnswers.LastAnswersOptions<Down>>) =>
  LastAnswers.make<string, Down>({ name: "last", capacity: 10, within: "1 minute", ...more })

describe("last answers", () => {
  it.effect.prop("law 40: an old answer stands in for an error only while it is young enough, and says how old it is", [
    Schema.Array(Schema.Struct({
      key: Schema.Literals(["a", "b"]),
      ends: Schema.Literals(["answers", "fails", "fails", "fails otherwise", "dies"]),
      pause: Schema.Literals([0, 1, 20, 59, 60, 61])
    })).check(Schema.isMaxLength(30))
  ], ([calls]) =>
    apart(Effect.gen(function*() {
      const last = yield* made({ within: 60, when: ({ isCovered }) => isCovered })
      const kept = new Map<string, { readonly value: string; readonly at: number }>()
      let time = 0
      let stale = 0
      for (const [n, { ends, key, pause }] of calls.entries()) {
        yield* TestClock.adjust(pause)
        time += pause
        const call = ends === "answers"
          ? Effect.succeed(`${key}${n}`)
          : ends === "dies"
          ? Effect.die("defect")
          : Effect.fail(new Down({ isCovered: ends === "fails" }))
        const exit = yield* Effect.exit(LastAnswers.orLast(call, last, key))
        if (ends === "answers") kept.set(key, { value: `${key}${n}`, at: time })
        const old = kept.get(key)
        const isGiven = ends === "answers" || (ends === "fails" && old !== undefined && time - old.at < 60)
        assert.strictEqual(Exit.isSuccess(exit), isGiven)
        if (!Exit.isSuccess(exit) || old === undefined) continue
        if (ends !== "answers") stale++
        assert.deepInclude(exit.value, {
          value: old.value,
          age: Duration.millis(time - old.at),
          isStale: ends !== "answers"
        })
      }
      assert.deepStrictEqual(yield* counted("last_answers_stale_total"), { "": stale })
      const { begun, ended } = yield* callsCounted("last_answers_calls")
      assert.deepStrictEqual([begun, ended], [calls.length, calls.length])
    })), { arbitrary: { runs: 1_000 } })

  it.effect("of two calls at once the answer of the one that began later is kept", () =>
    apart(Effect.gen(function*() {
      const last = yield* made()
      const call = (answer: string, takes: number) =>
        Effect.forkChild(LastAnswers.orLastValue(Effect.as(Effect.sleep(takes), answer), last, "k"), now)
      const older = yield* call("older", 20)
      yield* TestClock.adjust(1)
      const newer = yield* call("newer", 5)
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(yield* Fiber.joinAll([older, newer]), ["older", "newer"])
      assert.strictEqual(yield* LastAnswers.orLastValue(new Down({ isCovered: true }), last, "k"), "newer")
    })))

  it.effect("no more answers are kept than it may, those used latest", () =>
    apart(Effect.gen(function*() {
      const last = yield* made({ capacity: 2 })
      for (const key of ["a", "b", "c"]) yield* LastAnswers.orLastValue(Effect.succeed(key), last, key)
      const ask = (key: string) => Effect.exit(LastAnswers.orLastValue(new Down({ isCovered: true }), last, key))
      assert.isTrue(Exit.isFailure(yield* ask("a")))
      assert.deepStrictEqual([yield* ask("b"), yield* ask("c")], [Exit.succeed("b"), Exit.succeed("c")])
    })))

  it.effect("settings that make no sense are refused, all at once", () =>
    apart(Effect.gen(function*() {
      assert.lengthOf((yield* Effect.flip(made({ capacity: 0, within: 0 }))).problems, 2)
    })))

  it.effect("law 39: an error stays in the type, since there may be no old answer; in a policy too", () =>
    apart(Effect.gen(function*() {
      const last = yield* made()
      const call: Effect.Effect<string, Down> = Effect.succeed("answer")
      expectTypeOf(LastAnswers.orLast(call, last, "k")).toEqualTypeOf<Effect.Effect<Labelled<string>, Down>>()
      const policy = Layers.lastAnswer(last, "k")
      expectTypeOf(Policy.apply(call, policy)).toEqualTypeOf<Effect.Effect<string, Down>>()
      assert.strictEqual(yield* Policy.apply(call, policy), "answer")
      assert.strictEqual(yield* Policy.apply(Effect.fail(new Down({ isCovered: true })), policy), "answer")
    })))
})
