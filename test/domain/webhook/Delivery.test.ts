import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { afterAttempt } from "../../../src/domain/webhook/Webhook.ts"

const Status = Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 599 })))
const Count = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))

describe("a delivery", () => {
  it.prop(
    "arrives with success only, and is over when it arrived, must not be made, is unwanted or was tried often enough",
    { status: Status, isFinal: Schema.Boolean, attempts: Count, most: Count },
    ({ attempts, isFinal, most, status }) => {
      const state = afterAttempt({ status, isFinal }, attempts, most)
      assert.strictEqual(state === "delivered", status !== null && Math.floor(status / 100) === 2)
      if (state !== "delivered") {
        assert.strictEqual(state === "failed", isFinal || status === 410 || attempts >= most)
      }
    },
    { arbitrary: { runs: 2_000 } }
  )
})
