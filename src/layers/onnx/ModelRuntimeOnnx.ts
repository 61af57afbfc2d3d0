import { Context, Effect, Layer, Scope, Semaphore } from "effect"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { ModelOverloaded } from "../../domain/inference/InferenceErrors.ts"
import type { Tensor } from "../../domain/inference/Tensor.ts"
import type { ModelId } from "../../domain/model/Model.ts"
import type { VersionNumber } from "../../domain/model/Version.ts"
import { ArtifactStore } from "../../services/ArtifactStore.ts"
import type { Deployment } from "../../services/ModelRuntime.ts"
import { ModelRuntime } from "../../services/ModelRuntime.ts"
import { withSampledSpan } from "../telemetry/SampledSpan.ts"
import * as ModelInspector from "./ModelInspector.ts"
import { emptyFigures, RunnerFigures } from "./RunnerFigures.ts"
import { RunnerLimits } from "./RunnerLimits.ts"
import * as RunnerPool from "./RunnerPool.ts"
import * as RunnerProgram from "./RunnerProgram.ts"
import type { ServedModel } from "./ServedModel.ts"
import * as Served from "./ServedModel.ts"

const make = Effect.gen(function*() {
  const artifacts = yield* ArtifactStore
  const limits = yield* RunnerLimits
  const figures = emptyFigures()
  const program = yield* RunnerProgram.make
  // Runners end side by side, not one after the other, and before the folder they work in is removed.
  const scope = yield* Effect.acquireRelease(Scope.make("parallel"), (scope, exit) => Scope.close(scope, exit))
  const pool = yield* Scope.provide(RunnerPool.make(program, limits.memoryBytes, figures), scope)
  const inspector = ModelInspector.make(pool, program, limits, artifacts)
  const environment = { pool, limits, artifacts, figures }

  /** From the one that was not asked for longest to the one that was asked for last. */
  const served = new Map<string, ServedModel>()
  const changing = Semaphore.makeUnsafe(1)

  const remove = (key: string, model: ServedModel) =>
    Effect.suspend(() => {
      if (served.get(key) === model) served.delete(key)
      return model.close
    })

  /** Makes room by ending the model that was not asked for longest, unless all have work. */
  const makeRoom = Effect.gen(function*() {
    if (served.size < limits.maxLoaded) return true
    for (const [key, model] of served) {
      if (model.calls.isIdle) {
        yield* remove(key, model)
        return true
      }
    }
    return false
  })

  const serve = (key: string, deployment: Deployment) =>
    Effect.gen(function*() {
      const present = served.get(key)
      if (present !== undefined && present.deployment.artifact === deployment.artifact) return present
      if (present !== undefined) yield* remove(key, present)
      if (!(yield* makeRoom)) return undefined
      const model = yield* Scope.provide(Served.make(deployment, environment), scope)
      served.set(key, model)
      return model
    }).pipe(Effect.uninterruptible, changing.withPermit)

  const deploy = Effect.fn("ModelRuntime.deploy")(function*(deployment: Deployment) {
    const key = keyOf(deployment.modelId, deployment.version)
    const model = yield* serve(key, deployment)
    if (model === undefined) return yield* new DependencyUnavailable({ dependency: "runners", retryAfterSeconds: 5 })
    yield* Effect.onError(model.loaded, () => changing.withPermit(remove(key, model)))
  })

  const infer = (deployment: Deployment, inputs: ReadonlyArray<Tensor>) => {
    const key = keyOf(deployment.modelId, deployment.version)
    const model = served.get(key)
    if (model === undefined || model.deployment.artifact !== deployment.artifact) {
      return inferFirst(key, deployment, inputs)
    }
    served.delete(key)
    served.set(key, model)
    return model.calls.add(inputs)
  }

  const inferFirst = Effect.fnUntraced(function*(
    key: string,
    deployment: Deployment,
    inputs: ReadonlyArray<Tensor>
  ) {
    const model = yield* serve(key, deployment)
    if (model === undefined) return yield* new ModelOverloaded({ model: deployment.model, retryAfterSeconds: 1 })
    return yield* model.calls.add(inputs)
  })

  const unload = Effect.fn("ModelRuntime.unload")(function*(modelId: ModelId, version: VersionNumber | undefined) {
    const gone = Array.from(served).filter(([, { deployment }]) =>
      deployment.modelId === modelId && (version === undefined || deployment.version === version)
    )
    yield* Effect.forEach(gone, ([key, model]) => remove(key, model), { discard: true })
  }, changing.withPermit)

  return Context.make(
    ModelRuntime,
    ModelRuntime.of({
      validate: inspector.validate,
      convert: inspector.convert,
      deploy,
      infer: (deployment, inputs) =>
        Effect.suspend(() => infer(deployment, inputs)).pipe(
          withSampledSpan("ModelRuntime.infer", () => ({
            attributes: { "maas.model": deployment.model, "maas.version": deployment.version }
          }))
        ),
      loaded: Effect.sync(() => Array.from(served.values(), ({ deployment }) => deployment)),
      unload
    })
  ).pipe(Context.add(RunnerFigures, figures))
})

const keyOf = (modelId: ModelId, version: VersionNumber): string => `${modelId}/${version}`

/**
 * Runs models on ONNX Runtime, each served version in a process of its own. `RunnerLimits` says what they may take, and
 * `RunnerFigures` what they do.
 */
export const layer: Layer.Layer<ModelRuntime | RunnerFigures, never, ArtifactStore> = Layer.effectContext(make)
