import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import * as Inference from "../domain/inference/InferenceErrors.ts"
import * as Models from "../domain/model/ModelErrors.ts"
import { TensorSpec } from "../domain/model/Signature.ts"
import { OpenInferenceAuthorization, OpenInferenceRequestCheck, RequiredScope } from "./Authorization.ts"
import { InputTensor, OutputTensor, Parameters } from "./InferenceApi.ts"
import { openInferenceError } from "./OpenInferenceError.ts"
import { modelPath, versionPath } from "./Parameters.ts"
import { CountedAs, OpenInferenceRateLimits } from "./RateLimits.ts"

/*
 * The Open Inference Protocol, version 2, over HTTP.
 * https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 * The repository index is Triton's model repository extension.
 */

const ServerMetadata = Schema.Struct({
  name: Schema.String,
  version: Schema.String,
  extensions: Schema.Array(Schema.String)
})

const ModelMetadata = Schema.Struct({
  name: Schema.String,
  versions: Schema.Array(Schema.String),
  platform: Schema.String,
  inputs: Schema.Array(TensorSpec),
  outputs: Schema.Array(TensorSpec)
})

export const OpenInferenceRequest = Schema.Struct({
  id: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(1_000))),
  parameters: Schema.optionalKey(Parameters),
  inputs: Schema.Array(Schema.Struct({ ...InputTensor.fields, parameters: Schema.optionalKey(Parameters) })).check(
    Schema.isMaxLength(1_000)
  ),
  outputs: Schema.optionalKey(
    Schema.Array(Schema.Struct({ name: Schema.String, parameters: Schema.optionalKey(Parameters) })).check(
      Schema.isMaxLength(1_000)
    )
  )
}).annotate({ identifier: "OpenInferenceRequest" })

const OpenInferenceAnswer = Schema.Struct({
  model_name: Schema.String,
  model_version: Schema.String,
  id: Schema.optionalKey(Schema.String),
  outputs: Schema.Array(OutputTensor)
}).annotate({ identifier: "OpenInferenceAnswer" })

const RepositoryIndex = Schema.Array(
  Schema.Struct({ name: Schema.String, version: Schema.String, state: Schema.String, reason: Schema.String })
)

const unresolved = [
  openInferenceError(Models.ModelNotFound, 404),
  openInferenceError(Models.VersionNotFound, 404),
  openInferenceError(Inference.VersionNotReady, 400),
  openInferenceError(Inference.NoVersionReady, 400)
] as const

const failed = [
  ...unresolved,
  openInferenceError(Inference.InvalidTensors, 400),
  openInferenceError(Inference.InferenceTimeout, 504),
  openInferenceError(Inference.ModelCrashed, 500),
  openInferenceError(Inference.ModelCircuitOpen, 503),
  openInferenceError(Inference.ModelOverloaded, 503)
] as const

const unavailable = openInferenceError(DependencyUnavailable, 503)

const metadata = HttpApiEndpoint.get("metadata", "/models/:model", {
  params: modelPath,
  success: ModelMetadata,
  error: unresolved
}).annotate(RequiredScope, "inference").annotate(CountedAs, "models-read")
const versionMetadata = HttpApiEndpoint.get("versionMetadata", "/models/:model/versions/:version", {
  params: versionPath,
  success: ModelMetadata,
  error: unresolved
}).annotate(RequiredScope, "inference").annotate(CountedAs, "models-read")

const modelReady = HttpApiEndpoint.get("modelReady", "/models/:model/ready", {
  params: modelPath,
  success: HttpApiSchema.Empty(200),
  error: unresolved
}).annotate(RequiredScope, "inference")
const versionReady = HttpApiEndpoint.get("versionReady", "/models/:model/versions/:version/ready", {
  params: versionPath,
  success: HttpApiSchema.Empty(200),
  error: unresolved
}).annotate(RequiredScope, "inference")

const infer = HttpApiEndpoint.post("infer", "/models/:model/infer", {
  params: modelPath,
  payload: OpenInferenceRequest,
  success: OpenInferenceAnswer,
  error: failed
}).annotate(RequiredScope, "inference").annotate(CountedAs, "inference")
const versionInfer = HttpApiEndpoint.post("versionInfer", "/models/:model/versions/:version/infer", {
  params: versionPath,
  payload: OpenInferenceRequest,
  success: OpenInferenceAnswer,
  error: failed
}).annotate(RequiredScope, "inference").annotate(CountedAs, "inference")

const index = HttpApiEndpoint.post("index", "/repository/index", {
  payload: Schema.Struct({ ready: Schema.optionalKey(Schema.Boolean) }),
  success: RepositoryIndex
}).annotate(RequiredScope, "inference").annotate(CountedAs, "models-read")

export class OpenInferenceApi extends HttpApiGroup.make("openInference")
  .add(metadata, versionMetadata, modelReady, versionReady, infer, versionInfer, index)
  .prefix("/v2")
  .middleware(OpenInferenceRequestCheck)
  .middleware(OpenInferenceRateLimits)
  .middleware(OpenInferenceAuthorization)
{}

/** What anybody may ask, with no key. */
export class OpenInferenceServerApi extends HttpApiGroup.make("openInferenceServer")
  .add(
    HttpApiEndpoint.get("server", "/", { success: ServerMetadata }),
    HttpApiEndpoint.get("live", "/health/live", { success: HttpApiSchema.Empty(200) }),
    HttpApiEndpoint.get("ready", "/health/ready", { success: HttpApiSchema.Empty(200), error: unavailable })
  )
  .prefix("/v2")
{}
