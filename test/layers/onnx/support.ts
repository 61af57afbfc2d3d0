import { NodeCrypto, NodeServices } from "@effect/platform-node"
import { Context, Effect, FileSystem, Layer, Path, Schema, Stream } from "effect"
import { fileURLToPath } from "node:url"
import type { Tensor } from "../../../src/domain/inference/Tensor.ts"
import { decodeData, encodeData, parseExactIntegers } from "../../../src/domain/inference/TensorJson.ts"
import type { Sha256 } from "../../../src/domain/model/Artifact.ts"
import { ModelId } from "../../../src/domain/model/Model.ts"
import { Datatype, Signature } from "../../../src/domain/model/Signature.ts"
import * as ModelRuntimeOnnx from "../../../src/layers/onnx/ModelRuntimeOnnx.ts"
import type { RunnerFigures } from "../../../src/layers/onnx/RunnerFigures.ts"
import type { RunnerLimitsOptions } from "../../../src/layers/onnx/RunnerLimits.ts"
import { defaultRunnerLimits, RunnerLimits } from "../../../src/layers/onnx/RunnerLimits.ts"
import * as ArtifactStoreFolder from "../../../src/layers/storage/ArtifactStoreFolder.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"
import type { Deployment } from "../../../src/services/ModelRuntime.ts"
import { ModelRuntime } from "../../../src/services/ModelRuntime.ts"

const services = Layer.merge(NodeServices.layer, NodeCrypto.layerSecureRandom)

/** The runners, on a storage folder of their own. */
export const layerWith = (
  limits: Partial<RunnerLimitsOptions>
): Layer.Layer<ModelRuntime | RunnerFigures | ArtifactStore | FileSystem.FileSystem | Path.Path> =>
  ModelRuntimeOnnx.layer.pipe(
    Layer.provideMerge(
      Layer.unwrap(
        Effect.map(
          FileSystem.FileSystem.use((fs) => fs.makeTempDirectoryScoped({ prefix: "maas-onnx-test-" })),
          (directory) => ArtifactStoreFolder.layer({ directory })
        )
      )
    ),
    Layer.provideMerge(services),
    Layer.provide(Layer.succeedContext(Context.make(RunnerLimits, { ...defaultRunnerLimits, ...limits }))),
    Layer.orDie
  )

export const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/models/${name}`, import.meta.url))

/** Stores a sample model. */
export const store = Effect.fnUntraced(function*(name: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* storeBytes(yield* fs.readFile(fixture(`${name}.onnx`)))
})

const storeBytes = Effect.fnUntraced(function*(bytes: Uint8Array) {
  const artifacts = yield* ArtifactStore
  const staged = yield* artifacts.stage(Stream.make(bytes), { maxBytes: 1e9 })
  yield* staged.publish
  return staged.artifact.sha256
}, Effect.scoped)

const ids = { next: 0 }

const deploymentOf = (name: string, artifact: Sha256, signature: Signature): Deployment => ({
  modelId: ModelId.make(`01890a5d-ac96-774b-bcce-${String(ids.next++).padStart(12, "0")}`),
  model: name,
  version: 1,
  artifact,
  signature
})

/** Validate, convert, deploy: what the pipeline does with an upload. */
export const bringUp = Effect.fnUntraced(function*(name: string) {
  const runtime = yield* ModelRuntime
  const artifact = yield* store(name)
  const signature = yield* runtime.validate(artifact)
  const optimized = yield* Effect.scoped(
    Effect.tap(runtime.convert(artifact), ({ publish }) => publish)
  )
  const deployment = deploymentOf(name, optimized.artifact.sha256, signature)
  yield* runtime.deploy(deployment)
  return deployment
})

const StatedTensor = Schema.Struct({
  name: Schema.String,
  datatype: Datatype,
  shape: Schema.Array(Schema.Int),
  data: Schema.Array(Schema.Unknown)
})

/** The cases that come with the sample models. */
const Cases = Schema.Struct({
  metadata: Signature,
  cases: Schema.Array(Schema.Struct({
    request: Schema.Struct({ inputs: Schema.Array(StatedTensor) }),
    outputs: Schema.Array(StatedTensor)
  }))
})

export const casesOf = (name: string) =>
  FileSystem.FileSystem.use((fs) => fs.readFileString(fixture(`${name}.json`))).pipe(
    Effect.flatMap(Schema.decodeUnknownEffect(Schema.fromJsonString(Cases)))
  )

export const tensor = (
  name: string,
  datatype: Datatype,
  shape: ReadonlyArray<number>,
  data: unknown
): Effect.Effect<Tensor> =>
  Effect.orDie(Effect.map(
    Effect.fromResult(decodeData(data, datatype, shape, "data")),
    (bytes) => ({ name, datatype, shape, data: bytes })
  ))

const decodeElements = Schema.decodeUnknownSync(Schema.Array(Schema.Unknown))

/** Integers beyond 2^53 are `JsonInteger`s. */
export const elementsOf = (output: Tensor | undefined): ReadonlyArray<unknown> | undefined =>
  output === undefined ? undefined : decodeElements(parseExactIntegers(encodeData(output)))

/** One row of two floats, which is what most of the hostile models take. */
export const pair = (first: number, second: number) => tensor("x", "FP32", [1, 2], [first, second])
