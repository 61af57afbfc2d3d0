import { Layer } from "effect"
import { ModelLoading } from "../../services/ModelLoading.ts"
import * as RemoteModels from "./RemoteModels.ts"

/** In a registry, which serves no models itself. */
export const layer = Layer.effect(ModelLoading, RemoteModels.make)
