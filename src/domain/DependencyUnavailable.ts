import { Schema } from "effect"

/** When to try again, in seconds, where nothing better is known: a restart of a server is often over by then. */
export const usualOutageSeconds = 2

/** Something that the platform stands on is away or can't do this now; `retryAfterSeconds` is when to try again. */
export class DependencyUnavailable extends Schema.TaggedError<DependencyUnavailable>()("DependencyUnavailable", {
  dependency: Schema.Literals(["postgres", "event-log", "storage", "runners", "redis", "registry", "runtime"]),
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `The platform can't use its ${this.dependency} now: try again in ${this.retryAfterSeconds} s`
  }
}
