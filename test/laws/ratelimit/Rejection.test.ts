import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { RateLimited } from "../../../src/resilience/ratelimit/RateLimitErrors.ts"
import { isRejection } from "../../../src/resilience/Rejection.ts"

describe("RateLimited", () => {
  it("law 44: is known as a rejection, so that it trips no outer breaker", () => {
    const error = new RateLimited({ reason: "LimitReached", policy: "p", retryAfter: Duration.seconds(1), quotas: [] })
    assert.isTrue(isRejection(error))
    assert.isFalse(isRejection(new Error("something else")))
  })
})
