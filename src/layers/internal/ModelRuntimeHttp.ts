/**
 * The models of a processor. It opens what was uploaded in runners of its own, and leaves what is served to the runtime:
 * that loads a version when it is told to, and lets it answer.
 */
import { Effect, Layer } from "effect"
import { ModelRuntime } from "../../services/ModelRuntime.ts"
import * as ModelRuntimeOnnx from "../onnx/ModelRuntimeOnnx.ts"
import * as RemoteModels from "./RemoteModels.ts"

const make = Effect.gen(function*() {
  const { convert, validate } = yield* ModelRuntime
  const remote = yield* RemoteModels.make
  return ModelRuntime.of({ validate, convert, ...remote, loaded: Effect.succeed([]) })
})

/** With the figures of the processor's own runners. */
export const layer = Layer.effect(ModelRuntime, make).pipe(
  Layer.provideMerge(ModelRuntimeOnnx.layer)
)
