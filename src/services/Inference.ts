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

/** A call that fits: which version is to answer, and its inputs in the order of the signature. */
export interface Prepared {
  readonly deployment: Deployment
  readonly tensors: ReadonlyArray<Tensor>
}

export type NotPrepared = Unresolved | InvalidTensors | DependencyUnavailable
export type NotAnswered = InferenceTimeout | ModelCrashed | ModelCircuitOpen | ModelOverloaded | DependencyUnavailable

/** Lets a model answer. A request that does not fit the model's signature never reaches it. */
export class Inference extends Context.Service<Inference, {
  readonly infer: (
    ref: ModelRef,
    choice: VersionChoice,
    inputs: ReadonlyArray<StatedTensor>
  ) => Effect.Effect<Answer, NotPrepared | NotAnswered>
  /** The part of `infer` before the model is asked. */
  readonly prepare: (
    ref: ModelRef,
    choice: VersionChoice,
    inputs: ReadonlyArray<StatedTensor>
  ) => Effect.Effect<Prepared, NotPrepared>
  /** The rest of it. */
  readonly run: (prepared: Prepared) => Effect.Effect<ReadonlyArray<Tensor>, NotAnswered>
}>()("maas/services/Inference") {
  static readonly layer = Layer.effect(
    Inference,
    Effect.gen(function*() {
      const deployments = yield* Deployments
      const protection = yield* ModelProtection
      const runtime = yield* ModelRuntime

      // Every call passes here: no generators
      const prepare: Inference["Service"]["prepare"] = (ref, choice, inputs) =>
        Effect.flatMap(
          deployments.resolve(ref, choice),
          (deployment) =>
            Effect.map(
              Effect.fromResult(checkInputs(inputs, deployment.signature)),
              (tensors): Prepared => ({ deployment, tensors })
            )
        )
      const run: Inference["Service"]["run"] = ({ deployment, tensors }) =>
        protection.around(deployment, runtime.infer(deployment, tensors))

      return Inference.of({
        prepare,
        run,
        infer: (ref, choice, inputs) =>
          Effect.flatMap(
            prepare(ref, choice, inputs),
            (prepared) => Effect.map(run(prepared), (outputs): Answer => ({ deployment: prepared.deployment, outputs }))
          )
      })
    })
  )
}
