import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Duration, Effect, Exit, Result, Schema } from "effect"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { fromText, parse, print } from "../../../src/resilience/ratelimit/PolicyText.ts"
import { algorithms, between, buckets, policyOf, runs } from "./Histories.ts"

const text = (text: string, scopes?: ReadonlyArray<string>) => parse(text, { name: "reads", scopes })
const mistakesOf = (result: Result.Result<RateLimitPolicy, { readonly mistakes: ReadonlyArray<{ part: string }> }>) =>
  Result.match(result, { onFailure: ({ mistakes }) => mistakes.map(({ part }) => part), onSuccess: () => [] })

const anyPolicy = Arbitrary.schema(Schema.Struct({
  algorithm: Schema.Literals(algorithms),
  limit: between(1, 1_000),
  localLimit: between(1, 1_000),
  window: between(1, 10_000_000),
  unit: Schema.Literals([1, 1_000, 60_000]),
  burst: between(1, 1_000),
  per: Schema.UndefinedOr(Schema.Literals(["address", "key"])),
  onStoreLost: Schema.Literals(["failOpen", "failClosed", "local"])
})).pipe(Arbitrary.map(({ burst, localLimit, unit, window, ...options }) =>
  policyOf({
    ...options,
    window: Math.min(window, 1_000) * unit,
    localLimit: Math.min(localLimit, options.limit),
    burst: buckets.includes(options.algorithm) ? burst : undefined
  })
))

describe("policies", () => {
  it("are read as settings write them", () => {
    const policy = Result.getOrThrow(text("100/minute; algorithm=sliding-window; per=address"))
    assert.strictEqual(policy.name, "reads")
    assert.strictEqual(policy.limit, 100)
    assert.strictEqual(policy.windowMillis, 60_000)
    assert.strictEqual(policy.algorithm, "sliding-window")
    assert.strictEqual(policy.per, "address")
    assert.strictEqual(policy.onStoreLost, "local")
    assert.strictEqual(policy.local, policy)
    const bucket = Result.getOrThrow(
      text(" 600 / 10 minutes ;burst = 20;local=60; lost=fail-closed; algorithm=leaky-bucket")
    )
    assert.strictEqual(bucket.windowMillis, 600_000)
    assert.strictEqual(bucket.capacity, 20)
    assert.strictEqual(bucket.local.limit, 60)
    assert.strictEqual(bucket.local.capacity, 2)
    assert.strictEqual(bucket.onStoreLost, "failClosed")
    const windows = ["1/ms", "1/second", "1/10s", "1/5 minutes", "1/hour", "1/2d"].map((of) =>
      Result.getOrThrow(text(of)).windowMillis
    )
    assert.deepStrictEqual(windows, [1, 1_000, 10_000, 300_000, 3_600_000, 172_800_000])
  })

  it("are as is usual in their place where they do not say", () => {
    const usual = (of: string) =>
      Result.getOrThrow(parse(of, { name: "reads", algorithm: "sliding-window", per: "address" }))
    assert.strictEqual(usual("100/minute").algorithm, "sliding-window")
    assert.strictEqual(usual("100/minute; burst=20").algorithm, "token-bucket")
    assert.strictEqual(usual("100/minute; algorithm=fixed-window").algorithm, "fixed-window")
    assert.strictEqual(usual("100/minute").per, "address")
    assert.strictEqual(usual("100/minute; per=key").per, "key")
  })

  it.prop("print and parse round", [anyPolicy], ([policy]) => {
    const read = Result.getOrThrow(parse(print(policy), { name: policy.name }))
    assert.deepStrictEqual(read, policy)
  }, runs)

  it("law 10: every mistake of a text is named at once", () => {
    assert.deepStrictEqual(
      mistakesOf(
        text("0/fortnight; algorithm=magic; per=planet; burst=-1; burst=2; speed=3; lost=maybe; local=0", ["key"])
      ),
      ["window", "burst", "\"speed\"", "algorithm", "per", "lost", "limit", "burst"]
    )
    assert.deepStrictEqual(mistakesOf(text("")), ["window", "limit"])
    assert.deepStrictEqual(mistakesOf(text("1e3/minute")), ["limit"])
    assert.deepStrictEqual(mistakesOf(text("100/minute;")), ["\"\""])
    assert.deepStrictEqual(mistakesOf(text("100/constructor")), ["window"])
    assert.deepStrictEqual(mistakesOf(text("100/minute; algorithm=fixed-window; burst=7")), ["burst"])
    assert.deepStrictEqual(mistakesOf(text("1000000000/366 days")), ["burst"])
  })

  it.prop("law 10: no text makes a policy with an impossible number, and none throws", [
    Schema.Array(Schema.Literals([..."0123456789", "/", ";", "=", "-", ".", "e", " ", "minute", "s", "burst", "local"]))
  ], ([parts]) => {
    Result.match(text(parts.join("")), {
      onFailure: ({ mistakes }) => assert.isNotEmpty(mistakes),
      onSuccess: (policy) => {
        for (const value of [policy.limit, policy.windowMillis, policy.capacity, policy.local.limit]) {
          assert.isTrue(Number.isSafeInteger(value) && value >= 1)
        }
      }
    })
  }, runs)

  it("law 10: NaN, infinite, zero, negative and fractional numbers are refused, all at once", () => {
    for (const bad of [Number.NaN, Infinity, -Infinity, 0, -0, -1, 0.5, 2 ** 53]) {
      const result = RateLimitPolicy.make({ name: "", limit: bad, window: bad, burst: bad, localLimit: bad })
      const mistakes = mistakesOf(result)
      for (const part of ["name", "limit", "window", "burst"]) assert.include(mistakes, part, String(bad))
      assert.deepStrictEqual(
        mistakesOf(RateLimitPolicy.make({ name: "a", limit: 5, window: 1_000, localLimit: bad })),
        [
          "local"
        ]
      )
    }
    const window = Duration.nanos(1n)
    assert.deepStrictEqual(mistakesOf(RateLimitPolicy.make({ name: "a", limit: 5, window })), ["window"])
  })

  it.effect("a schema names all mistakes in one line", () =>
    Effect.gen(function*() {
      const schema = fromText({ name: "reads", scopes: ["address", "key"] })
      const policy = yield* Schema.decodeEffect(schema)("5/10s; per=key")
      assert.strictEqual(yield* Schema.encodeEffect(schema)(policy), "5/10 seconds; algorithm=token-bucket; per=key")
      const exit = yield* Effect.exit(Schema.decodeEffect(schema)("0/week; per=house"))
      assert(Exit.isFailure(exit))
      const error = yield* Effect.flip(Schema.decodeEffect(schema)("0/week; per=house"))
      for (const part of ["limit:", "window:", "per:"]) assert.include(error.message.split("\n", 1)[0], part)
    }))
})
