/** Generated policies and histories of calls. Windows are small so that brute force can try each millisecond. */
import { Arbitrary, Array, Result, Schema } from "effect"
import { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import type { Algorithm, PolicyOptions } from "../../../src/resilience/ratelimit/Policy.ts"

export const algorithms: ReadonlyArray<Algorithm> = ["fixed-window", "sliding-window", "token-bucket", "leaky-bucket"]
export const buckets: ReadonlyArray<Algorithm> = ["token-bucket", "leaky-bucket"]

export const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

export const policyOf = (options: Partial<PolicyOptions>): RateLimitPolicy =>
  Result.getOrThrow(RateLimitPolicy.make({ name: "test", limit: 10, window: "1 minute", ...options }))

export const policies = (among: ReadonlyArray<Algorithm>): Arbitrary.Arbitrary<RateLimitPolicy> =>
  Arbitrary.schema(Schema.Struct({
    algorithm: Schema.Literals(among),
    limit: between(1, 12),
    window: Schema.Literals([1, 3, 7, 10, 30, 64, 100]),
    burst: between(1, 12)
  })).pipe(
    Arbitrary.map(({ algorithm, burst, limit, window }) =>
      policyOf({ algorithm, limit, window, burst: buckets.includes(algorithm) ? burst : undefined })
    )
  )

/** A call `gap` milliseconds after the one before. */
export const Call = Schema.Struct({
  // Often no time passes at all, sometimes more than a window
  gap: Schema.Literals([0, 0, 0, 1, 1, 2, 3, 5, 9, 14, 30, 65, 130]),
  cost: Schema.Literals([1, 1, 1, 2, 3, 5, 8])
})

export const calls = Arbitrary.array(Arbitrary.schema(Call), { minLength: 1, maxLength: 40 })

export const runs = { arbitrary: { runs: 1_000, size: 40 } }

/** Each call with the time at which it is made. */
export const timed = (history: ReadonlyArray<typeof Call.Type>, start = 1_000) =>
  Array.mapAccum(history, start, (now, { cost, gap }) => [now + gap, { at: now + gap, cost }] as const)[1]
