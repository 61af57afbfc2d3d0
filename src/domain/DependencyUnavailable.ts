import { Schema } from "effect"

/** Something that the platform stands on is away for now; `retryAfterSeconds` is when to try again. */
export class DependencyUnavailable extends Schema.TaggedError<DependencyUnavailable>()("DependencyUnavailable", {
  dependency: Schema.Literals(["postgres", "event-log", "storage", "runners"]),
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `The platform can't reach its ${this.dependency} now: try again in ${this.retryAfterSeconds} s`
  }
}
