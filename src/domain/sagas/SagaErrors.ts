import { Schema } from "effect"

/** No saga has this id, or it ended so long ago that it is forgotten. */
export class NoSuchSaga extends Schema.TaggedError<NoSuchSaga>()("NoSuchSaga", { id: Schema.String }) {
  override get message() {
    return `There is no saga '${this.id}'`
  }
}

/** What an operator asked for does not fit the state that the saga is in. */
export class SagaActionRefused extends Schema.TaggedError<SagaActionRefused>()("SagaActionRefused", {
  id: Schema.String,
  action: Schema.Literals(["cancel", "retry", "resolve"]),
  why: Schema.String
}) {
  override get message() {
    return `The saga '${this.id}' does not let itself ${this.action}: ${this.why}`
  }
}
