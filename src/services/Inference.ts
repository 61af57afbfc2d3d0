import { Context, Effect, Layer } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type {
  InferenceTimeout,
  InvalidTensors,
  ModelCircuitOpen,
  ModelCrashed,
  ModelOverloaded
} from "../domain/inference/InferenceErrors.ts"
import type { StatedTensor } from "../domain/inference/SignatureCheck.ts"
import { checkInputs } from "../domain/inference/SignatureCheck.ts"
import type { Tensor } from "../domain/inference/Tensor.ts"
import type { Unresolved, VersionChoice } from "./Deployments.ts"
import { Deployments } from "./Deployments.ts"
import { ModelProtection } from "./ModelProtection.ts"
import type { ModelRef } from "./ModelRepository.ts"
import type { Deployment } from "./ModelRuntime.ts"
import { ModelRuntime } from "./ModelRuntime.ts"

export interface Answer {
  readonly deployment: Deployment
  readonly outputs: ReadonlyArray<Tensor>
}

/** Lets a model answer. A request that does not fit the model's signature never reaches it. */
export class Inference extends Context.Service<Inference, {
  readonly infer: (
    ref: ModelRef,
    choice: VersionChoice,
    inputs: ReadonlyArray<StatedTensor>
  ) => Effect.Effect<
    Answer,
    | Unresolved
    | InvalidTensors
    | InferenceTimeout
    | ModelCrashed
    | ModelCircuitOpen
    | ModelOverloaded
    | DependencyUnavailable
  >
}>()("maas/services/Inference") {
  static readonly layer = Layer.effect(
    Inference,
    Effect.gen(function*() {
      const deployments = yield* Deployments
      const protection = yield* ModelProtection
      const runtime = yield* ModelRuntime

      return Inference.of({
        // Every call passes here: no generators
        infer: (ref, choice, inputs) =>
          Effect.flatMap(deployments.resolve(ref, choice), (deployment) =>
            Effect.flatMap(
              Effect.fromResult(checkInputs(inputs, deployment.signature)),
              (tensors) =>
                Effect.map(
                  protection.around(deployment, runtime.infer(deployment, tensors)),
                  (outputs): Answer => ({ deployment, outputs })
                )
            ))
      })
    })
  )
}
