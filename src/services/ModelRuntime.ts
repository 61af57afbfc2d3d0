import type { Effect, Scope } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { InferenceTimeout, ModelCrashed, ModelOverloaded } from "../domain/inference/InferenceErrors.ts"
import type { Tensor } from "../domain/inference/Tensor.ts"
import type { Sha256 } from "../domain/model/Artifact.ts"
import type { ModelId } from "../domain/model/Model.ts"
import type { ModelRefused } from "../domain/model/ModelRefused.ts"
import type { Signature } from "../domain/model/Signature.ts"
import type { VersionNumber } from "../domain/model/Version.ts"
import type { StagedArtifact } from "./ArtifactStore.ts"

/** What is served: a version's optimised artifact, known to every runtime by the model's id and the version's number. */
export interface Deployment {
  readonly modelId: ModelId
  /** The model's name, for messages. */
  readonly model: string
  readonly version: VersionNumber
  readonly artifact: Sha256
  readonly signature: Signature
}

/** Opens and runs models, each in a process of its own with a deadline and a memory limit. */
export class ModelRuntime extends Context.Service<ModelRuntime, {
  /** Reads the signature and makes one dry run with small inputs. */
  readonly validate: (artifact: Sha256) => Effect.Effect<Signature, ModelRefused | DependencyUnavailable>
  /** Optimises the graph; the result is staged, to be published in the transaction that refers to it. */
  readonly convert: (
    artifact: Sha256
  ) => Effect.Effect<StagedArtifact, ModelRefused | DependencyUnavailable, Scope.Scope>
  /** Loads the model, warms it up and lets it answer a probe. Loading what is loaded already changes nothing. */
  readonly deploy: (deployment: Deployment) => Effect.Effect<void, ModelRefused | DependencyUnavailable>
  /** Runs the model on tensors that fit its signature, loading it first where needed. */
  readonly infer: (
    deployment: Deployment,
    inputs: ReadonlyArray<Tensor>
  ) => Effect.Effect<
    ReadonlyArray<Tensor>,
    InferenceTimeout | ModelCrashed | ModelOverloaded | DependencyUnavailable
  >
  /** What is loaded now, or being loaded. */
  readonly loaded: Effect.Effect<ReadonlyArray<Deployment>>
  /** Ends the process of the version, or of every version; what is not loaded is none to end. */
  readonly unload: (modelId: ModelId, version: VersionNumber | undefined) => Effect.Effect<void>
}>()("maas/services/ModelRuntime") {}
