import type { DateTime, Effect } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { ModelId, ModelName } from "../domain/model/Model.ts"
import type { ModelEvent } from "../domain/model/ModelEvents.ts"

/** What is particular to one event; its id and the schema's version are added on publication. */
export type Happening = ModelEvent extends infer Event
  ? Event extends ModelEvent ? { readonly type: Event["type"]; readonly data: Omit<Event["data"], "model"> } : never
  : never

/** Publishes what happened to a model. */
export class ModelEvents extends Context.Service<ModelEvents, {
  /**
   * Inside the transaction of the change: published if it commits, never if it does not, in commit order per model.
   */
  readonly publish: (
    model: { readonly id: ModelId; readonly name: ModelName },
    happenings: ReadonlyArray<Happening>,
    at: DateTime.Utc
  ) => Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/ModelEvents") {}
