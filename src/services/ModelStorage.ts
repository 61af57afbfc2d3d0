import type { Effect, Stream } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { Artifact } from "../domain/model/Artifact.ts"
import type { ModelId } from "../domain/model/Model.ts"
import type { UploadLost } from "../domain/model/ModelErrors.ts"

/**
 * The place that each model has in the store of artifacts: where an upload that comes with the model's creation waits
 * until the model is registered. Everything can be repeated.
 */
export class ModelStorage extends Context.Service<ModelStorage, {
  /** Makes the model's place and brings in the upload that is staged under this name, if there is one. */
  readonly allocate: (
    model: ModelId,
    staged: string | undefined
  ) => Effect.Effect<void, UploadLost | DependencyUnavailable>
  /** Gives the upload that waits in the model's place the address of its bytes. */
  readonly publish: (model: ModelId, artifact: Artifact) => Effect.Effect<void, UploadLost | DependencyUnavailable>
  /** Removes the place with all that is in it, whether or not there is one. */
  readonly release: (model: ModelId) => Effect.Effect<void, DependencyUnavailable>
  /** As `release`, and an allocation that comes after it, from a process that was thought dead, does nothing. */
  readonly fenceOff: (model: ModelId) => Effect.Effect<void, DependencyUnavailable>
  /** The models whose places are older than the given age in milliseconds. Fences that are older are taken away. */
  readonly olderThan: (ageMillis: number) => Stream.Stream<ModelId, DependencyUnavailable>
}>()("maas/services/ModelStorage") {}
