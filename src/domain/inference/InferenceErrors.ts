import { Schema } from "effect"
import { VersionNumber, VersionStatus } from "../model/Version.ts"

/** One mistake in a request, at a JSON path such as `inputs[0].shape`. */
export const Mistake = Schema.Struct({ path: Schema.String, message: Schema.String })
export type Mistake = typeof Mistake.Type

/** The request does not fit the model's signature. */
export class InvalidTensors extends Schema.TaggedError<InvalidTensors>()("InvalidTensors", {
  mistakes: Schema.NonEmptyArray(Mistake)
}) {
  override get message() {
    return this.mistakes.map(({ path, message }) => `${path}: ${message}`).join("; ")
  }
}

/** The version can't answer now: it is not `ready`. */
export class VersionNotReady extends Schema.TaggedError<VersionNotReady>()("VersionNotReady", {
  model: Schema.String,
  version: VersionNumber,
  status: VersionStatus
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' is ${this.status}, not ready`
  }
}

/** The model has no version that is `ready`. */
export class NoVersionReady extends Schema.TaggedError<NoVersionReady>()("NoVersionReady", { model: Schema.String }) {
  override get message() {
    return `No version of '${this.model}' is ready`
  }
}

/** The model took longer than it may; its process was ended. */
export class InferenceTimeout extends Schema.TaggedError<InferenceTimeout>()("InferenceTimeout", {
  model: Schema.String,
  version: VersionNumber,
  limitMillis: Schema.Finite
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' gave no answer within ${this.limitMillis} ms (MAAS_INFERENCE_TIMEOUT)`
  }
}

/** The model ran and failed, crashed, or outgrew its memory: the request can't be answered by this model. */
export class ModelCrashed extends Schema.TaggedError<ModelCrashed>()("ModelCrashed", {
  model: Schema.String,
  version: VersionNumber,
  reason: Schema.String,
  /** It answered with the failure itself, and its process goes on. */
  survived: Schema.Boolean
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' failed on this input: ${this.reason}`
  }
}

/** The version failed too often lately and is left alone for a while; `retryAfterSeconds` is when to try again. */
export class ModelCircuitOpen extends Schema.TaggedError<ModelCircuitOpen>()("ModelCircuitOpen", {
  model: Schema.String,
  version: VersionNumber,
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' failed too often and is left alone: try again in ${this.retryAfterSeconds} s`
  }
}

/** Too many calls wait for this model; `retryAfterSeconds` is when to try again. */
export class ModelOverloaded extends Schema.TaggedError<ModelOverloaded>()("ModelOverloaded", {
  model: Schema.String,
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `Too many calls wait for '${this.model}': try again in ${this.retryAfterSeconds} s`
  }
}
