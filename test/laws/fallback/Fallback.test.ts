import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Cause, Data, Effect, Exit, Fiber, Scheduler, Schema } from "effect"
import type { Scope } from "effect"
import { CircuitOpen } from "../../../src/resilience/circuit/CircuitRun.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Fallback from "../../../src/resilience/Fallback.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { TimedOut } from "../../../src/resilience/Timeout.ts"
import { Alive, nothing } from "../Alive.ts"
import { apart, callsCounted, counted } from "../Counted.ts"
import { PausesAt } from "../PausesAt.ts"
import { Calls, drive } from "../Workload.ts"

class Named extends Data.TaggedError("Named")<{ readonly n: number }> {}
class Other extends Data.TaggedError("Other")<{ readonly n: number }> {}
class NoAnswer extends Data.TaggedError("NoAnswer") {}

const usual = Fallback.make({
  name: "usual",
  handles: Fallback.errors(Named),
  answer: ({ n }: Named) => Effect.succeed(`instead of ${n}`)
})

const reasonsOf = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit)
    ? exit.cause.reasons.map((reason) =>
      Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : "interrupted"
    )
    : exit.value

describe("a fallback", () => {
  it.effect.prop(
    "law 39: handles exactly the errors it names: what else an error holds passes as it is, and nothing it names does",
    [Schema.Array(Schema.Literals(["named", "other", "defect", "interruption"])).check(Schema.isMaxLength(5))],
    ([kinds]) =>
      apart(Effect.gen(function*() {
        const fallback = yield* usual
        const reasons = kinds.map((kind, n): Cause.Reason<Named | Other> => {
          switch (kind) {
            case "named":
              return Cause.makeFailReason(new Named({ n }))
            case "other":
              return Cause.makeFailReason(new Other({ n }))
            case "defect":
              return Cause.makeDieReason(`defect ${n}`)
            case "interruption":
              return Cause.makeInterruptReason(n)
          }
        })
        const cause = Cause.fromReasons(reasons)
        const exit = yield* Effect.exit(Fallback.orElse(Effect.failCause(cause), fallback))
        const passes = kinds.filter((kind) => kind !== "named")
        const first = kinds.indexOf("named")
        if (first >= 0 && passes.length === 0) assert.strictEqual(reasonsOf(exit), `instead of ${first}`)
        else {
          const left = Cause.fromReasons(reasons.filter((_, n) => kinds[n] !== "named"))
          assert.deepStrictEqual(reasonsOf(exit), reasonsOf(Exit.failCause(left)))
        }
        const answered = first >= 0 && passes.length === 0 ? 1 : 0
        assert.deepStrictEqual(yield* counted("fallback_answers_total"), { "": answered })
      })),
    { arbitrary: { runs: 1_000 } }
  )

  it("law 39: the errors it names leave the error type, those of its answer join it, and no other changes", () => {
    const check = (
      call: Effect.Effect<string, CircuitOpen | TimedOut | Other, Scope.Scope>,
      fallback: Fallback.Fallback<CircuitOpen | TimedOut, number, NoAnswer, "service">
    ) => {
      type Expected = Effect.Effect<string | number, Other | NoAnswer, Scope.Scope | "service">
      expectTypeOf(Fallback.orElse(call, fallback)).toEqualTypeOf<Expected>()
      expectTypeOf(call.pipe(Fallback.orElse(fallback))).toEqualTypeOf<Expected>()
      expectTypeOf(Policy.apply(call, Layers.fallback(fallback))).toEqualTypeOf<Expected>()
      expectTypeOf(Fallback.orElse(Effect.fail(new Other({ n: 1 })), fallback))
        .toEqualTypeOf<Effect.Effect<number, Other | NoAnswer, "service">>()
      expectTypeOf(Fallback.errors(CircuitOpen, TimedOut)).guards.toEqualTypeOf<CircuitOpen | TimedOut>()
    }
    assert.isFunction(check)
  })

  it.effect("law 39: within a policy it answers what the layers within refuse", () =>
    apart(Effect.gen(function*() {
      const breaker = yield* CircuitBreaker.make({ name: "b", trip: { _tag: "ConsecutiveFailures", failures: 1 } })
      yield* breaker.force("ForcedOpen")
      const fallback = yield* Fallback.make({
        name: "usual",
        handles: Fallback.errors(CircuitOpen),
        answer: () => Effect.succeed("usual")
      })
      const policy = Layers.fallback(fallback).pipe(Policy.around(Layers.circuit(breaker)))
      assert.strictEqual(yield* Policy.apply(Effect.succeed("answer"), policy), "usual")
      assert.strictEqual(policy.toString().split(" → ")[0], "fallback \"usual\"")
    })))

  it.effect("law 44: an outer breaker sees the answer of a fallback, not the refusal within", () =>
    apart(Effect.gen(function*() {
      const trip = { _tag: "ConsecutiveFailures", failures: 1 } as const
      const outer = yield* CircuitBreaker.make({ name: "outer", trip })
      const inner = yield* CircuitBreaker.make({ name: "inner", trip })
      yield* inner.force("ForcedOpen")
      const named = yield* usual
      for (let n = 0; n < 3; n++) {
        const call = Effect.void.pipe(
          CircuitBreaker.protect(inner),
          Fallback.orElse(named),
          CircuitBreaker.protect(outer)
        )
        assert.instanceOf(yield* Effect.flip(call), CircuitOpen)
      }
      assert.strictEqual((yield* outer.snapshot).state, "Closed")
    })))

  it.effect("law 45: interrupted at whatever step, it leaves nothing behind", () =>
    apart(Effect.gen(function*() {
      const fallback = yield* Fallback.make({
        name: "hangs",
        handles: Fallback.errors(Named),
        answer: () => Effect.never
      })
      for (let step = 1; step <= 30; step++) {
        const alive = new Alive()
        const fiber = yield* Effect.fail(new Named({ n: step })).pipe(
          Fallback.orElse(fallback),
          alive.watch.bind(alive),
          Effect.provideService(Scheduler.Scheduler, new PausesAt(step)),
          Effect.forkChild({ startImmediately: true })
        )
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(alive.counts, nothing)
      }
      const { begun, ended } = yield* callsCounted("fallback_calls")
      assert.strictEqual(begun, ended)
    })))

  it.effect.prop(
    "law 46: calls = succeeded + failed + rejected + interrupted",
    [Calls],
    ([calls]) =>
      apart(Effect.gen(function*() {
        const fallback = yield* usual
        const { exits, left } = yield* drive(
          calls,
          (work, { after, key }) =>
            Fallback.orElse(key === "a" ? Effect.andThen(work, new Named({ n: after })) : work, fallback)
        )
        const counts = yield* callsCounted("fallback_calls")
        assert.strictEqual(counts.begun, counts.ended)
        assert.strictEqual(counts.succeeded, exits.filter(Exit.isSuccess).length)
        assert.strictEqual(left, 0)
      })),
    { arbitrary: { runs: 200 } }
  )
})
