import { Context, Layer } from "effect"
import { ModelRuntime } from "./ModelRuntime.ts"

/** What those who manage models ask of those who serve them. */
export class ModelLoading extends Context.Service<ModelLoading, Pick<ModelRuntime["Service"], "deploy" | "unload">>()(
  "maas/services/ModelLoading"
) {
  /** In a process that serves models itself. */
  static readonly layer = Layer.effect(ModelLoading, ModelRuntime)
}
