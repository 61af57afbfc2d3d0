import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Data, Effect } from "effect"
import type { Scope } from "effect"
import type { Bulkhead, BulkheadFull } from "../../../src/resilience/Bulkhead.ts"
import type { CircuitOpen } from "../../../src/resilience/circuit/CircuitRun.ts"
import type { CircuitBreaker } from "../../../src/resilience/CircuitBreaker.ts"
import type { DeadlineExceeded } from "../../../src/resilience/Deadline.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import * as StandardPolicy from "../../../src/resilience/policy/StandardPolicy.ts"
import type { ImpossibleCost, RateLimited } from "../../../src/resilience/ratelimit/RateLimitErrors.ts"
import type { LimitOptions, RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import type { RetryPolicy } from "../../../src/resilience/Retry.ts"
import type { TimedOut } from "../../../src/resilience/Timeout.ts"

class Broken extends Data.TaggedError("Broken") {}
class Wrong extends Data.TaggedError("Wrong") {}

type Call = Effect.Effect<string, Broken | Wrong, Scope.Scope>

interface Parts {
  readonly breaker: CircuitBreaker
  readonly bulkhead: Bulkhead
  readonly limit: LimitOptions
  /** Answers a `CircuitOpen` and a `Broken` with an old answer. */
  readonly fallback: Policy.Policy<never, CircuitOpen | Broken, never, "stale">
  /** Makes a defect of a `Wrong`. */
  readonly insists: Policy.Policy<never, Wrong>
  readonly retryAll: RetryPolicy<unknown>
  readonly retrySome: RetryPolicy<Broken | CircuitOpen>
}

/** What is within is checked by the compiler only. */
const typesOnly = (check: (parts: Parts, call: Call) => void) => assert.isFunction(check)

describe("the types of a policy", () => {
  it("law 39: a rejection that nobody handles joins the errors, and the services it needs are needed", () =>
    typesOnly(({ breaker, bulkhead, limit }, call) => {
      const policy = Layers.deadline("10 seconds").pipe(
        Policy.around(Layers.rateLimit({ ...limit, counts: "requests" })),
        Policy.around(Layers.circuit(breaker)),
        Policy.around(Layers.bulkhead(bulkhead)),
        Policy.around(Layers.timeout("2 seconds"))
      )
      type Added = DeadlineExceeded | RateLimited | ImpossibleCost | CircuitOpen | BulkheadFull | TimedOut
      expectTypeOf(policy).toEqualTypeOf<Policy.Policy<Added, never, RateLimiter>>()
      type Expected = Effect.Effect<string, Broken | Wrong | Added, Scope.Scope | RateLimiter>
      expectTypeOf(Policy.apply(call, policy)).toEqualTypeOf<Expected>()
      expectTypeOf(call.pipe(Policy.apply(policy))).toEqualTypeOf<Expected>()
    }))

  it("law 39: a handled error leaves the errors, whether the call or a layer within failed with it", () =>
    typesOnly(({ breaker, fallback }, call) => {
      const policy = fallback.pipe(Policy.around(Layers.circuit(breaker)))
      type Expected = Effect.Effect<string, Wrong, Scope.Scope>
      expectTypeOf(Policy.apply(call, policy)).toEqualTypeOf<Expected>()
      expectTypeOf(call.pipe(Policy.apply(policy))).toEqualTypeOf<Expected>()
      expectTypeOf(Policy.apply(Effect.succeed(1), policy)).toEqualTypeOf<Effect.Effect<number | "stale">>()
    }))

  it("law 39: what a layer adds outside the one that would handle it stays", () =>
    typesOnly(({ breaker, fallback }, call) => {
      const policy = Layers.circuit(breaker).pipe(Policy.around(fallback))
      expectTypeOf(Policy.apply(call, policy)).toEqualTypeOf<
        Effect.Effect<string, Wrong | CircuitOpen, Scope.Scope>
      >()
    }))

  it("law 41: the empty policy changes no type, on either side", () =>
    typesOnly(({ breaker, fallback }, call) => {
      const policy = fallback.pipe(Policy.around(Layers.circuit(breaker)))
      expectTypeOf(Policy.apply(call, Policy.empty)).toEqualTypeOf(call)
      expectTypeOf(call.pipe(Policy.apply(Policy.empty))).toEqualTypeOf(call)
      expectTypeOf(Policy.around(Policy.empty, policy)).toEqualTypeOf(policy)
      expectTypeOf(Policy.around(policy, Policy.empty)).toEqualTypeOf(policy)
      expectTypeOf(policy.pipe(Policy.around(Policy.empty))).toEqualTypeOf(policy)
    }))

  it("law 41: the types of a composition do not depend on how it is grouped", () =>
    typesOnly(({ breaker, fallback, limit }, call) => {
      const circuit = Layers.circuit(breaker)
      const rate = Layers.rateLimit({ ...limit, counts: "attempts" })
      const left = fallback.pipe(Policy.around(circuit), Policy.around(rate))
      const right = fallback.pipe(Policy.around(circuit.pipe(Policy.around(rate))))
      expectTypeOf(left).toEqualTypeOf(right)
      expectTypeOf(Policy.around(Policy.around(fallback, circuit), rate)).toEqualTypeOf(right)
      const applied = call.pipe(Policy.apply(rate), Policy.apply(circuit), Policy.apply(fallback))
      expectTypeOf(applied).toEqualTypeOf(Policy.apply(call, left))
    }))

  it("a retry that can't judge an error is refused around what fails with it", () =>
    typesOnly(({ breaker, bulkhead, retryAll, retrySome }, call) => {
      const broken = Effect.fail(new Broken())
      const some = Layers.retry(retrySome)
      const circuit = some.pipe(Policy.around(Layers.circuit(breaker)))
      expectTypeOf(Policy.apply(broken, circuit)).toEqualTypeOf<Effect.Effect<never, Broken | CircuitOpen>>()
      // @ts-expect-error the call fails with `Wrong` too
      call.pipe(Policy.apply(circuit))
      // @ts-expect-error the call fails with `Wrong` too
      Policy.apply(call, circuit)
      // @ts-expect-error the bulkhead fails with `BulkheadFull`
      some.pipe(Policy.around(Layers.bulkhead(bulkhead)))
      // @ts-expect-error the bulkhead fails with `BulkheadFull`
      Policy.around(some, Layers.bulkhead(bulkhead))
      expectTypeOf(Policy.apply(call, Layers.retry(retryAll))).toEqualTypeOf(call)
    }))

  it("an error that is handled within need not be judged by a retry around it", () =>
    typesOnly(({ insists, retrySome }) => {
      const policy = Layers.retry(retrySome).pipe(Policy.around(insists))
      const call: Effect.Effect<string, Broken | Wrong> = Effect.succeed("answer")
      expectTypeOf(Policy.apply(call, policy)).toEqualTypeOf<Effect.Effect<string, Broken>>()
    }))

  it("a circuit that classifies values is refused around other values", () =>
    typesOnly(({ breaker }) => {
      const circuit = Layers.circuit(breaker, {
        classify: (exit: { readonly _tag: "Success"; readonly value: number } | { readonly _tag: "Failure" }) =>
          exit._tag === "Success" && exit.value < 500 ? "Success" : "Failure"
      })
      expectTypeOf(Policy.apply(Effect.succeed(200), circuit)).toEqualTypeOf<Effect.Effect<number, CircuitOpen>>()
      // @ts-expect-error a text has no status
      Policy.apply(Effect.succeed("200"), circuit)
    }))

  it("the usual stack names what may come of a call, with a fallback and without", () =>
    typesOnly(({ fallback }, call) => {
      const check = (parts: StandardPolicy.StandardParts<Broken | Wrong>) => {
        type Added = DeadlineExceeded | CircuitOpen | BulkheadFull | TimedOut
        expectTypeOf(Policy.apply(call, StandardPolicy.of(parts))).toEqualTypeOf<
          Effect.Effect<string, Broken | Wrong | Added, Scope.Scope>
        >()
        expectTypeOf(Policy.apply(call, StandardPolicy.withAnswers(fallback, parts))).toEqualTypeOf<
          Effect.Effect<string, Wrong | Exclude<Added, CircuitOpen>, Scope.Scope>
        >()
      }
      assert.isFunction(check)
    }))
})
