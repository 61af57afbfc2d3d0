import type { Effect, Stream } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { ModelId } from "../domain/model/Model.ts"

/** A model was changed, or changes may have been missed (`all`): whatever was read before may be stale. */
export type ModelChange =
  | { readonly _tag: "model"; readonly modelId: ModelId }
  | { readonly _tag: "all" }

/** Tells every process that a model was changed, without saying what: those who care read it again. */
export class ModelChanges extends Context.Service<ModelChanges, {
  /** Inside a transaction: told when it commits, never when it does not. */
  readonly announce: (modelId: ModelId) => Effect.Effect<void, DependencyUnavailable>
  /**
   * Changes from the moment of subscription on. A slow subscriber loses the oldest, so it must not count them.
   */
  readonly stream: Stream.Stream<ModelChange>
}>()("maas/services/ModelChanges") {}
