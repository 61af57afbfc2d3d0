import { Schema } from "effect"
import { RejectionTypeId } from "../Rejection.ts"

/** What is left of one policy, as header fields and callers see it. Times are milliseconds. */
export const Quota = Schema.Struct({
  policy: Schema.String,
  /** The most that can be taken at once. */
  quota: Schema.Int,
  /** How long it takes until the whole quota, once taken, is back. */
  windowMillis: Schema.Int,
  remaining: Schema.Int,
  resetMillis: Schema.Int
})
export type Quota = typeof Quota.Type

/**
 * - `LimitReached`: a limit has been reached, or will not have room again before the caller's deadline.
 * - `QueueFull`: too many wait already.
 * - `WaitedTooLong`: others that came first were still waiting at the caller's deadline.
 * - `StoreLost`: the limit cannot be counted, and its policy fails closed.
 */
export const RefusalReason = Schema.Literals(["LimitReached", "QueueFull", "WaitedTooLong", "StoreLost"])
export type RefusalReason = typeof RefusalReason.Type

/** The call was not run and took nothing. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  reason: RefusalReason,
  /** The name of the policy that must be waited for longest. */
  policy: Schema.String,
  retryAfter: Schema.Duration,
  /** All policies of the call, in its order; none while the store is away. */
  quotas: Schema.Array(Quota)
}) {
  readonly [RejectionTypeId] = true

  override get message() {
    return `${this.policy}: ${this.reason}`
  }
}

/** The cost is above the policy's capacity: no wait would ever admit it. */
export class ImpossibleCost extends Schema.TaggedError<ImpossibleCost>()("ImpossibleCost", {
  policy: Schema.String,
  // A cost that is no finite number, past the type, is refused too.
  // @effect-diagnostics-next-line schemaNumber:off
  cost: Schema.Number,
  capacity: Schema.Int
}) {
  readonly [RejectionTypeId] = true

  override get message() {
    return `${this.policy}: a cost of ${this.cost} is never admitted, the capacity is ${this.capacity}`
  }
}
