import { Schema } from "effect"

/** What of the API is limited on its own: each endpoint counts against one of these. */
export const LimitName = Schema.Literals(["models-read", "inference", "writes", "other"])
export type LimitName = typeof LimitName.Type

/** Names a set of limits that a key may have in place of everybody's. */
export const PlanName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9][a-z0-9_-]{0,30}$/, { expected: "1 to 31 of a-z 0-9 _ -, the first no sign" })
).pipe(Schema.brand("PlanName"))
export type PlanName = typeof PlanName.Type

/** The caller has used up a limit; `retryAfterSeconds` is when to try again. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  /** The name of the limit's policy. */
  policy: Schema.String,
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `The limit '${this.policy}' is reached: try again in ${this.retryAfterSeconds} s`
  }
}
