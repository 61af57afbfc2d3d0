import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { afterFailure, exponential } from "../../src/messaging/RetryDelays.ts"

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))
const Millis = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 10_000 }))

describe("RetryDelays", () => {
  it.prop("law 56: one retry per delay, then the dead letters", [Schema.Array(Millis)], ([millis]) => {
    const delays = millis.map(Duration.millis)
    const decisions = Array.from({ length: delays.length + 1 }, (_, index) => afterFailure(delays, index + 1))
    assert.deepStrictEqual(decisions, [
      ...delays.map((delay) => ({ _tag: "Retry" as const, delay })),
      { _tag: "DeadLetter" as const }
    ])
  })

  it.prop(
    "exponential delays grow by the factor up to the maximum",
    [Millis, Millis, Count],
    ([initial, max, retries]) => {
      const delays = exponential({ initial, factor: 2, max, retries }).map(Duration.toMillis)
      assert.deepStrictEqual(delays, Array.from({ length: retries }, (_, n) => Math.min(initial * 2 ** n, max)))
    }
  )
})
