import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import * as HeaderFields from "../../../src/resilience/ratelimit/HeaderFields.ts"
import type { Quota } from "../../../src/resilience/ratelimit/RateLimitErrors.ts"
import { between, runs } from "./Histories.ts"

const Name = Schema.Literals(["reads", "per-plan", "a.b_c"])
const AnyQuota = Schema.Struct({
  quota: between(1, 1_000),
  windowMillis: between(1, 10_000_000),
  remaining: between(0, 2_000),
  resetMillis: between(0, 10_000_000)
})

/** Reads the lists that are written here, by the grammar of RFC 9651 as far as they use it. */
const read = (field: string | undefined) =>
  (field ?? "").split(", ").map((member) => {
    const [, name, parameters = ""] = /^"([\x20-\x7e]*)"((?:;[a-z]+=\d{1,15})*)$/.exec(member) ?? []
    assert.isDefined(name, `not a list member: ${member}`)
    const values = parameters.split(";").slice(1).map((parameter) => parameter.split("="))
    return { name, values: new Map(values.map(([key = "", value]) => [key, Number(value)])) }
  })

const named = (quotas: ReadonlyArray<typeof AnyQuota.Type>): ReadonlyArray<Quota> =>
  quotas.map((quota, index) => ({ ...quota, policy: `p${index}` }))

describe("header fields", () => {
  it("are as the draft writes them", () => {
    const quotas = [
      { policy: "burst", quota: 100, windowMillis: 60_000, remaining: 0, resetMillis: 29_001 },
      { policy: "daily", quota: 1_000, windowMillis: 86_400_000, remaining: 900, resetMillis: 4_000_000 }
    ]
    assert.deepStrictEqual(HeaderFields.ofQuotas(quotas), {
      "ratelimit-policy": "\"burst\";q=100;w=60, \"daily\";q=1000;w=86400",
      "ratelimit": "\"burst\";r=0;t=30, \"daily\";r=900;t=4000"
    })
    assert.deepStrictEqual(
      HeaderFields.ofRefusal({ policy: "burst", quotas, retryAfter: Duration.millis(501) }),
      {
        "ratelimit-policy": "\"burst\";q=100;w=60, \"daily\";q=1000;w=86400",
        "ratelimit": "\"burst\";r=0;t=1, \"daily\";r=900;t=4000",
        "retry-after": "1"
      }
    )
    const unknown = HeaderFields.ofRefusal({ policy: "burst", quotas: [], retryAfter: Duration.zero })
    assert.deepStrictEqual(unknown, { "retry-after": "1" })
    assert.deepStrictEqual(HeaderFields.ofQuotas([]), {})
  })

  it.prop("law 15: 0 <= remaining <= quota, reset rounded up, every policy shown in order", [
    Schema.NonEmptyArray(AnyQuota)
  ], ([some]) => {
    const quotas = named(some)
    const fields = HeaderFields.ofQuotas(quotas)
    const policies = read(fields["ratelimit-policy"])
    const limits = read(fields.ratelimit)
    assert.deepStrictEqual(policies.map(({ name }) => name), quotas.map(({ policy }) => policy))
    assert.deepStrictEqual(limits.map(({ name }) => name), quotas.map(({ policy }) => policy))
    quotas.forEach(({ quota, remaining, resetMillis, windowMillis }, index) => {
      assert.strictEqual(policies[index]?.values.get("q"), quota)
      assert.isAtLeast((policies[index]?.values.get("w") ?? -1) * 1_000, windowMillis)
      const shown = limits[index]?.values.get("r") ?? -1
      assert.strictEqual(shown, Math.min(remaining, quota))
      const seconds = limits[index]?.values.get("t") ?? -1
      assert.isTrue(seconds * 1_000 >= resetMillis && (seconds - 1) * 1_000 < resetMillis)
    })
  }, runs)

  it.prop("law 15: Retry-After is enough, at least a second, and what the refusing policy's t says", [
    Schema.NonEmptyArray(AnyQuota),
    Name,
    between(1, 10_000_000)
  ], ([some, policy, millis]) => {
    const quotas = named(some).map((quota, index) => index === 0 ? { ...quota, policy } : quota)
    const fields = HeaderFields.ofRefusal({ policy, quotas, retryAfter: Duration.millis(millis) })
    const seconds = Number(fields["retry-after"])
    assert.isTrue(seconds >= 1 && seconds * 1_000 >= millis && (seconds - 1) * 1_000 < millis)
    assert.strictEqual(read(fields.ratelimit)[0]?.values.get("t"), seconds)
    assert.strictEqual(read(fields.ratelimit).length, quotas.length)
  }, runs)
})
