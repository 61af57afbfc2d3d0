import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { LatencyQuantile } from "../../../src/resilience/hedge/LatencyQuantile.ts"

const Latency = Schema.Finite.check(Schema.isBetween({ minimum: 0.1, maximum: 3_600_000 }))
const Latencies = Schema.Array(Latency).check(Schema.isMinLength(1), Schema.isMaxLength(300))
const Quantile = Schema.Literals([0.1, 0.5, 0.9, 0.95, 0.99, 1])

/** The least of the values that is not exceeded by the share of them. */
const exact = (values: ReadonlyArray<number>, quantile: number): number => {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] ?? Number.NaN
}

describe("a quantile of latencies", () => {
  it.prop("is off by at most 2 % from that of the last one to two windows", [
    Latencies,
    Quantile,
    Schema.Literals([10, 25, 100])
  ], ([latencies, quantile, window]) => {
    const estimate = new LatencyQuantile(quantile, window, 1)
    for (const [n, latency] of latencies.entries()) {
      estimate.record(latency)
      const seen = n + 1
      const kept = seen < window ? seen : window + seen % window
      const expected = exact(latencies.slice(seen - kept, seen), quantile)
      assert.approximately(estimate.millis ?? Number.NaN, expected, 0.02 * expected + 1e-9)
    }
  }, { arbitrary: { runs: 1_000 } })

  it.prop("takes what lies outside of its range for its ends, and is always a time", [
    Schema.Array(Schema.Literals([0, -1, 1e-9, 0.05, 1e12, 1e300])).check(Schema.isMinLength(1))
  ], ([latencies]) => {
    const estimate = new LatencyQuantile(0.5, 10, 1)
    for (const latency of latencies) {
      estimate.record(latency)
      assert.isTrue((estimate.millis ?? 0) > 0.09 && (estimate.millis ?? Infinity) < 3_700_000)
    }
  }, { arbitrary: { runs: 1_000 } })

  it("is unknown until there were enough calls", () => {
    const estimate = new LatencyQuantile(0.5, 50, 5)
    for (let n = 0; n < 4; n++) estimate.record(10)
    assert.isUndefined(estimate.millis)
    estimate.record(10)
    assert.approximately(estimate.millis ?? Number.NaN, 10, 0.2)
  })
})
