/** The store in memory where it is about keys: one demand alone as many, and floods of them. */
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import { algorithms, between, policies, policyOf, runs } from "./Histories.ts"

const Ask = Schema.Struct({
  key: Schema.Literals(["a", "b", "c"]),
  cost: between(1, 12),
  gap: Schema.Literals([0, 0, 1, 3, 9, 40, 130, 400])
})

describe("keys in memory", () => {
  it.prop("law 7, law 9: one demand alone is decided, kept and forgotten as in a list", [
    policies(algorithms),
    Arbitrary.array(Arbitrary.schema(Ask), { minLength: 1, maxLength: 60 })
  ], ([policy, asks]) => {
    const alone = new MemoryStore(2)
    const inList = new MemoryStore(2)
    let now = 1_000
    for (const { cost, gap, key } of asks) {
      now += gap
      const possible = Cost.make(Math.min(cost, policy.capacity))
      const one = alone.takeOne(policy, key, possible, now)
      const many = inList.take([{ policy, key, cost: possible }], now)
      assert.strictEqual(one._tag === "Admitted", many._tag === "Taken")
      if (one._tag === "Admitted") assert.deepStrictEqual(many, { _tag: "Taken", grants: [one] })
      else if (many._tag === "NotTaken") assert.strictEqual(one.retryAfterMillis, many.retryAfterMillis)
      assert.strictEqual(alone.size, inList.size)
    }
  }, runs)

  it("law 9: a flood of new keys is limited together and takes no more memory", () => {
    for (const algorithm of algorithms) {
      const policy = policyOf({ algorithm, limit: 2, window: "1 hour" })
      const store = new MemoryStore(100)
      let admitted = 0
      for (let n = 0; n < 20_000; n++) {
        if (store.takeOne(policy, `flood-${n}`, 1, 1_000)._tag === "Admitted") admitted++
      }
      // A hundred keys of their own, and 256 that are shared by all others
      assert.isAtMost(store.size, 100 + 256)
      assert.isAtMost(admitted, 100 + 2 * 256)
    }
  })

  it("an impossible cost is the caller's mistake", () => {
    const policy = policyOf({ limit: 2 })
    assert.throws(() => new MemoryStore(10).takeOne(policy, "a", 3, 1_000), RangeError)
  })
})
