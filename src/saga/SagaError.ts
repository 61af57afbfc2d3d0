/** What can go wrong with a saga besides the errors of its own steps. */
import { Duration, Schema } from "effect"
import { Parking } from "./SagaStatus.ts"

/** An attempt took too long and was interrupted: whether it had its effect is unknown. */
export class StepTimedOut extends Schema.TaggedError<StepTimedOut>()("StepTimedOut", {
  step: Schema.String,
  after: Schema.Duration
}) {
  override get message() {
    return `The step "${this.step}" did not end within ${Duration.format(this.after)}`
  }
}

/**
 * A step returned more than its saga's journal takes, in bytes of JSON. Its action may have had its effect. It is a
 * defect, as any output is that can't be recorded.
 */
export class StepOutputTooLarge extends Schema.TaggedError<StepOutputTooLarge>()("StepOutputTooLarge", {
  step: Schema.String,
  bytes: Schema.Int,
  limit: Schema.Int
}) {
  override get message() {
    return `The step "${this.step}" returned ${this.bytes} bytes of JSON, of which ${this.limit} are allowed: ` +
      "let it keep what is large elsewhere, and return where that is"
  }
}

/** The saga was cancelled, and all that it had done is undone. */
export class SagaCancelled extends Schema.TaggedError<SagaCancelled>()("SagaCancelled", { sagaId: Schema.String }) {
  override get message() {
    return `The saga ${this.sagaId} was cancelled`
  }
}

/** The saga took longer than its definition allows, and all that it had done is undone. */
export class SagaDeadlineExceeded extends Schema.TaggedError<SagaDeadlineExceeded>()("SagaDeadlineExceeded", {
  sagaId: Schema.String
}) {
  override get message() {
    return `The saga ${this.sagaId} passed its deadline`
  }
}

/** The saga can go neither on nor back by itself: an operator has to look at it. */
export class SagaParked extends Schema.TaggedError<SagaParked>()("SagaParked", {
  sagaId: Schema.String,
  parking: Parking
}) {
  override get message() {
    return `The saga ${this.sagaId} waits for an operator (${this.parking.reason})`
  }
}

/** Another saga has this id: of another definition, or with another input. */
export class SagaIdReused extends Schema.TaggedError<SagaIdReused>()("SagaIdReused", { sagaId: Schema.String }) {
  override get message() {
    return `The id ${this.sagaId} belongs to a saga with another input`
  }
}

export class SagaNotFound extends Schema.TaggedError<SagaNotFound>()("SagaNotFound", { sagaId: Schema.String }) {
  override get message() {
    return `There is no saga ${this.sagaId}`
  }
}

/** What an operator asked for does not fit the state that the saga is in. */
export class SagaNotActionable extends Schema.TaggedError<SagaNotActionable>()("SagaNotActionable", {
  sagaId: Schema.String,
  action: Schema.Literals(["cancel", "retry", "resolve"]),
  why: Schema.String
}) {
  override get message() {
    return `The saga ${this.sagaId} does not let itself ${this.action}: ${this.why}`
  }
}

/** The journal can't be reached now. */
export class JournalUnavailable extends Schema.TaggedError<JournalUnavailable>()("JournalUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The journal of sagas is unavailable (${this.operation})`
  }
}

/** Another process has taken the saga over since; what this one wanted to record is not recorded. */
export class LeaseLost extends Schema.TaggedError<LeaseLost>()("LeaseLost", { sagaId: Schema.String }) {
  override get message() {
    return `The saga ${this.sagaId} belongs to another process now`
  }
}
