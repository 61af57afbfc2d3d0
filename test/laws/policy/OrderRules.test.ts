import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Result } from "effect"
import * as AdaptiveLimit from "../../../src/resilience/AdaptiveLimit.ts"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Hedge from "../../../src/resilience/Hedge.ts"
import * as Policy from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import { logWarnings, rules, warnings } from "../../../src/resilience/policy/OrderRules.ts"
import type { RuleName } from "../../../src/resilience/policy/OrderRules.ts"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import * as RetryBudget from "../../../src/resilience/RetryBudget.ts"

/** A layer that is there only for what it is. */
const dummy = (kind: "Fallback" | "Cache" | "FaultInjection" | "Measure") =>
  Policy.layer<never>({ role: { kind }, text: kind, metrics: [], wrap: (self) => self })

const made = Effect.gen(function*() {
  const limits = {
    policy: Result.getOrThrow(RateLimitPolicy.make({ name: "limit", limit: 1, window: "1 second" })),
    key: "key"
  }
  return {
    retry: Layers.retry(yield* Retry.make<unknown>({ name: "retry", retryable: () => true, call: Retry.safe })),
    budget: Layers.retryBudget(yield* RetryBudget.make({ ratio: 0.2, floor: 10 })),
    circuit: Layers.circuit(
      yield* CircuitBreaker.make({ name: "circuit", trip: { _tag: "ConsecutiveFailures", failures: 5 } })
    ),
    bulkhead: Layers.bulkhead(yield* Bulkhead.make({ name: "bulkhead", limit: 32 })),
    queue: Layers.bulkhead(yield* Bulkhead.make({ name: "queue", limit: 32, queue: 100 })),
    requests: Layers.rateLimit({ limits, counts: "requests" }),
    attempts: Layers.rateLimit({ limits, counts: "attempts" }),
    waiting: Layers.rateLimit({ limits, within: "1 second", counts: "attempts" }),
    deadline: Layers.deadline("10 seconds"),
    timeout: Layers.timeout("2 seconds"),
    same: Layers.timeout("10 seconds"),
    hedge: Layers.hedge(
      yield* Hedge.make<unknown>({ name: "hedge", after: { _tag: "Fixed", delay: "50 millis" }, call: Retry.safe })
    ),
    fallback: dummy("Fallback"),
    cache: dummy("Cache"),
    adaptive: Layers.adaptiveLimit(
      yield* AdaptiveLimit.make({ name: "adaptive", algorithm: { _tag: "Gradient2" }, maximum: 200 })
    ),
    faults: dummy("FaultInjection"),
    measure: dummy("Measure")
  } satisfies Record<string, Policy.Any>
})

type Name = keyof Effect.Success<typeof made>

/** Stacks that a rule is against, and stacks like them that are right: by every rule, if nothing else is said. */
interface Case {
  readonly wrong: ReadonlyArray<ReadonlyArray<Name>>
  readonly right: ReadonlyArray<ReadonlyArray<Name>>
}

const cases: Readonly<Record<RuleName, Case>> = {
  "circuit-misses-attempts": {
    wrong: [["circuit", "retry"], ["circuit", "hedge"], ["circuit", "bulkhead", "hedge"]],
    right: [["retry", "circuit"], ["hedge", "circuit"], ["circuit", "retry", "circuit"]]
  },
  "circuit-blind-to-hanging": {
    wrong: [["timeout", "circuit"], ["deadline", "bulkhead", "circuit", "bulkhead"]],
    right: [["circuit", "timeout"], ["deadline", "circuit", "timeout"], ["circuit"]]
  },
  "circuit-counts-queueing": {
    wrong: [["circuit", "timeout", "queue"], ["circuit", "timeout", "waiting"]],
    right: [["circuit", "queue", "timeout"], ["circuit", "timeout", "bulkhead"], ["timeout", "queue"]]
  },
  "place-held-between-attempts": {
    wrong: [["bulkhead", "retry"], ["adaptive", "circuit", "retry", "circuit"]],
    right: [["retry", "bulkhead"], ["retry", "circuit", "adaptive"]]
  },
  "place-misses-hedges": {
    wrong: [["bulkhead", "hedge"], ["adaptive", "hedge"]],
    right: [["hedge", "bulkhead"], ["hedge", "adaptive"]]
  },
  "limit-charges-each-attempt": {
    wrong: [["retry", "requests"], ["hedge", "requests"]],
    right: [["requests", "retry"], ["requests", "hedge"], ["retry", "attempts"]]
  },
  "limit-misses-attempts": {
    wrong: [["attempts", "retry"], ["waiting", "hedge"]],
    right: [["retry", "attempts"], ["hedge", "waiting"], ["requests", "retry"]]
  },
  "attempts-without-timeout": {
    wrong: [["timeout", "retry"], ["deadline", "retry", "circuit"]],
    right: [["deadline", "retry", "timeout"], ["retry"], ["retry", "timeout"]]
  },
  "timeout-never-acts": {
    wrong: [["timeout", "same"], ["deadline", "same"], ["timeout", "deadline"]],
    right: [["same", "timeout"], ["deadline", "timeout"]]
  },
  "deadline-starts-anew": {
    wrong: [["retry", "deadline"], ["hedge", "deadline"]],
    right: [["deadline", "retry", "timeout"], ["deadline", "hedge"]]
  },
  "fallback-hides-failures": {
    wrong: [["retry", "fallback"], ["circuit", "fallback"], ["hedge", "fallback"]],
    right: [["fallback", "retry", "circuit"], ["deadline", "fallback", "hedge"]]
  },
  "cache-behind-refusals": {
    wrong: [["circuit", "cache"], ["bulkhead", "cache"], ["adaptive", "cache"], ["attempts", "cache"]],
    right: [["cache", "circuit", "bulkhead"], ["requests", "cache", "attempts"]]
  },
  "hedge-multiplies-retries": {
    wrong: [["hedge", "retry"], ["retry", "circuit", "hedge", "circuit"]],
    right: [["hedge", "circuit"], ["retry", "circuit"], ["budget", "retry", "hedge"]]
  },
  "retries-multiply": {
    wrong: [["retry", "circuit", "retry"], ["retry", "budget", "retry"]],
    right: [["budget", "retry", "circuit", "retry"], ["retry"]]
  },
  "budget-unused": {
    wrong: [["budget"], ["retry", "budget"], ["budget", "circuit"]],
    right: [["budget", "retry"], ["budget", "deadline", "retry", "timeout"], ["budget", "hedge"]]
  },
  "fault-spares-layers": {
    wrong: [["faults", "circuit"], ["retry", "faults", "timeout"]],
    right: [["circuit", "faults"], ["retry", "timeout", "faults", "measure"]]
  }
}

/** The rules that a stack breaks. */
const broken = (names: ReadonlyArray<Name>) =>
  Effect.map(Effect.scoped(made), (layers) => [
    ...new Set(warnings({ steps: names.flatMap((name) => layers[name].steps) }).map(({ rule }) => String(rule)))
  ])

describe("the rules of order", () => {
  for (const [rule, { right, wrong }] of Object.entries(cases)) {
    for (const names of wrong) {
      it.effect(`${rule} is against ${names.join(" → ")}`, () =>
        Effect.map(broken(names), (found) => assert.include(found, rule)))
    }
    for (const names of right) {
      it.effect(`${rule} has nothing against ${names.join(" → ")}`, () =>
        Effect.map(broken(names), (found) => assert.notInclude(found, rule)))
    }
  }

  it("each has both", () => {
    assert.sameMembers(Object.keys(cases), Object.keys(rules))
    for (const { right, wrong } of Object.values(cases)) assert.isAbove(Math.min(right.length, wrong.length), 0)
  })

  it.effect("one layer alone breaks none, but a budget that nobody takes from", () =>
    Effect.scoped(Effect.gen(function*() {
      const { budget, ...layers } = yield* made
      for (const layer of Object.values(layers)) assert.deepStrictEqual(warnings(layer), [])
      assert.lengthOf(warnings(budget), 1)
      assert.deepStrictEqual(warnings(Policy.empty), [])
    })))

  it.effect("a warning names the layers and says what to do, and nothing logs it unless told to", () =>
    Effect.scoped(Effect.gen(function*() {
      const lines: Array<unknown> = []
      const logger = Logger.make(({ message }) => {
        lines.push(message)
      })
      const { bulkhead, retry } = yield* made
      const policy = Policy.around(bulkhead, retry)
      const [warning] = warnings(policy)
      assert.deepStrictEqual(warning, {
        rule: "place-held-between-attempts",
        message: "bulkhead \"bulkhead\" 32 holds a place during the delays of retry ×3 (jitter 100ms..10s)",
        advice: "Put the retry around, so that a place is held only while an attempt runs"
      })
      yield* Policy.apply(Effect.void, policy)
      assert.deepStrictEqual(lines, [])
      yield* Effect.provide(logWarnings(policy), Logger.layer([logger]))
      assert.deepStrictEqual(lines, [[`${warning?.message}. ${warning?.advice}.`]])
    })))
})
