import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { LowWatermark } from "../../src/messaging/LowWatermark.ts"

const Gap = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))
/** `undefined` takes the next record; a number ends one of those in flight. */
const Step = Schema.Union([Schema.Undefined, Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 }))])

describe("LowWatermark", () => {
  it("has nothing to commit before the first delivery", () => {
    assert.isUndefined(new LowWatermark().committable)
  })

  it.prop(
    "law 57: what may be committed is exactly the prefix that is done, and never moves back",
    [Schema.Array(Schema.Tuple([Step, Gap]))],
    ([steps]) => {
      const watermark = new LowWatermark()
      const delivered: Array<{ readonly offset: number; done: boolean }> = []
      let next = 0
      let last = 0
      for (const [step, gap] of steps) {
        const inFlight = delivered.filter(({ done }) => !done)
        const ended = step === undefined ? undefined : inFlight[step % Math.max(inFlight.length, 1)]
        if (ended === undefined) {
          next += gap
          delivered.push({ offset: next, done: false })
          watermark.delivered(next)
        } else {
          ended.done = true
          watermark.done(ended.offset)
        }
        const firstOpen = delivered.find(({ done }) => !done)
        const expected = firstOpen?.offset ?? next + 1
        assert.strictEqual(watermark.committable, expected)
        assert.isAtLeast(expected, last)
        last = expected
      }
    }
  )
})
