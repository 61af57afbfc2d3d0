import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { taskFields } from "../domain/inference/Task.ts"
import { AliasName } from "../domain/model/Model.ts"
import { VersionNumber } from "../domain/model/Version.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, ModelRef } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

const Dimension = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** `data` is checked against the model's signature, element by element, not here. */
export const InputTensor = Schema.Struct({
  name: Schema.String.check(Schema.isMaxLength(1_000)),
  shape: Schema.Array(Dimension).check(Schema.isMaxLength(32)),
  datatype: Schema.String.check(Schema.isMaxLength(16)),
  data: Schema.Unknown
})

export const Parameters = Schema.Record(Schema.String, Schema.Unknown)

export const OutputTensor = Schema.Struct({
  name: Schema.String,
  shape: Schema.Array(Schema.Int),
  datatype: Schema.String,
  data: Schema.Array(Schema.Unknown)
})

export const InferenceRequest = Schema.Struct({
  model: ModelRef,
  version: Schema.optionalKey(VersionNumber),
  alias: Schema.optionalKey(AliasName),
  inputs: Schema.Array(InputTensor).check(Schema.isMaxLength(1_000)),
  parameters: Schema.optionalKey(Parameters),
  /** In seconds, for a task: when it has not ended by then, it ends as `expired`. */
  expiresIn: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 31_536_000 })))
}).check(
  Schema.makeFilter((request) =>
    "version" in request && "alias" in request ? "either a version or an alias, not both" : undefined
  )
).annotate({ identifier: "InferenceRequest" })

export const InferenceAnswer = Schema.Struct({
  model: Schema.String,
  version: VersionNumber,
  outputs: Schema.Array(OutputTensor)
}).annotate({ identifier: "InferenceAnswer" })

/** An asynchronous inference; `result` is what the synchronous one would have answered. */
export const TaskView = Schema.Struct({ ...taskFields, result: Schema.NullOr(InferenceAnswer) }).annotate({
  identifier: "Task"
})

const infer = HttpApiEndpoint.post("infer", "/", {
  headers: {
    ...idempotencyHeader,
    /** RFC 7240: `respond-async`, `wait=5`. */
    prefer: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(1_000)))
  },
  payload: InferenceRequest,
  success: [Schema.Union([InferenceAnswer, TaskView]), TaskView.pipe(HttpApiSchema.status(202))],
  error: [
    Problems.modelNotFound,
    Problems.versionNotFound,
    Problems.aliasNotFound,
    Problems.versionNotReady,
    Problems.noVersionReady,
    Problems.invalidTensors,
    Problems.inferenceTimeout,
    Problems.modelCrashed,
    Problems.modelCircuitOpen,
    Problems.modelOverloaded,
    Problems.tooManyTasks,
    ...Problems.idempotency
  ]
}).annotate(RequiredScope, "inference").annotate(CountedAs, "inference").annotate(
  OpenApi.Description,
  "Lets a model answer. With `Prefer: respond-async` the answer is 202 with a task and its Location; `wait=5` waits that long first, and answers 200 with the task if it has ended by then."
)

export class InferenceApi extends HttpApiGroup.make("inference")
  .add(infer)
  .prefix("/api/v1/inference")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
