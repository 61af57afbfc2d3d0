/** What the roles ask of each other beyond the calls that a gateway hands on: one definition for client and server. */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { ApiKey } from "../../domain/access/ApiKey.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { InferenceTimeout, ModelCrashed, ModelOverloaded } from "../../domain/inference/InferenceErrors.ts"
import { Sha256 } from "../../domain/model/Artifact.ts"
import { ModelId } from "../../domain/model/Model.ts"
import { ModelRefused } from "../../domain/model/ModelRefused.ts"
import { Datatype, Signature } from "../../domain/model/Signature.ts"
import { VersionNumber } from "../../domain/model/Version.ts"
import { InternalAuthorization } from "./InternalAuthorization.ts"

const unavailable = DependencyUnavailable.pipe(HttpApiSchema.status(503))

/** Of the registry: who has the key with this digest. The secret itself stays with the gateway. */
export class KeyLookupApi extends HttpApiGroup.make("keyLookup")
  .add(HttpApiEndpoint.post("find", "/find", {
    payload: Schema.Struct({ digest: Schema.Uint8ArrayFromBase64 }),
    success: Schema.NullOr(ApiKey),
    error: unavailable
  }))
  .prefix("/internal/v1/keys")
  .middleware(InternalAuthorization)
{}

const Deployment = Schema.Struct({
  modelId: ModelId,
  model: Schema.String,
  version: VersionNumber,
  artifact: Sha256,
  signature: Signature
})

/** `data` is the elements' bytes, as they travel inside the platform. */
const Tensor = Schema.Struct({
  name: Schema.String,
  datatype: Datatype,
  shape: Schema.Array(Schema.Int),
  data: Schema.Uint8ArrayFromBase64
})

/** Of a runtime: what it is to have loaded, and to run for one who has checked the inputs. */
export class DeploymentsApi extends HttpApiGroup.make("deployments")
  .add(
    HttpApiEndpoint.post("deploy", "/", {
      payload: Deployment,
      success: HttpApiSchema.NoContent,
      error: [ModelRefused.pipe(HttpApiSchema.status(422)), unavailable]
    }),
    HttpApiEndpoint.post("run", "/run", {
      payload: Schema.Struct({ deployment: Deployment, inputs: Schema.Array(Tensor) }),
      success: Schema.Array(Tensor),
      error: [
        InferenceTimeout.pipe(HttpApiSchema.status(504)),
        ModelCrashed.pipe(HttpApiSchema.status(502)),
        ModelOverloaded.pipe(HttpApiSchema.status(429)),
        unavailable
      ]
    })
  )
  .prefix("/internal/v1/deployments")
  .middleware(InternalAuthorization)
{}

/** The part that the registry serves. */
export class RegistryInternalApi extends HttpApi.make("maas-internal").add(KeyLookupApi) {}

/** The part that a runtime serves. */
export class RuntimeInternalApi extends HttpApi.make("maas-internal").add(DeploymentsApi) {}
