import { Schema } from "effect"

export class DeadLetterNotFound extends Schema.TaggedError<DeadLetterNotFound>()("DeadLetterNotFound", {
  id: Schema.String
}) {
  override get message() {
    return `There is no dead letter '${this.id}'`
  }
}

/** Only what waits can be replayed or discarded, and replayed only what the log or the book still has. */
export class DeadLetterConflict extends Schema.TaggedError<DeadLetterConflict>()("DeadLetterConflict", {
  problem: Schema.String
}) {
  override get message() {
    return this.problem
  }
}
