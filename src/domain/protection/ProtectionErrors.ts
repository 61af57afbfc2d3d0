import { Schema } from "effect"

/** No breaker, or none with this key, is known to this process. */
export class CircuitNotFound extends Schema.TaggedError<CircuitNotFound>()("CircuitNotFound", { id: Schema.String }) {
  override get message() {
    return `There is no circuit '${this.id}'`
  }
}

export class LimitNotFound extends Schema.TaggedError<LimitNotFound>()("LimitNotFound", { name: Schema.String }) {
  override get message() {
    return `There is no limit '${this.name}'`
  }
}
