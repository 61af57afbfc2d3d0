/** What the settings say of models, for every role that has to do with them. */
import { ByteSize, Effect, Layer } from "effect"
import * as Sagas from "../../saga/Sagas.ts"
import { ModelProtection } from "../../services/ModelProtection.ts"
import { StorageQuota } from "../../services/StorageQuota.ts"
import { Versions } from "../../services/Versions.ts"
import { defaultRunnerLimits, RunnerLimits } from "../onnx/RunnerLimits.ts"
import * as JournalPg from "../postgres/saga/JournalPg.ts"
import { Settings } from "../settings/Settings.ts"
import * as ArtifactStoreFolder from "../storage/ArtifactStoreFolder.ts"
import * as ModelStorageFolder from "../storage/ModelStorageFolder.ts"

export const versions = Layer.unwrap(
  Effect.map(Settings, ({ maxUpload }) => Versions.layer({ maxUploadBytes: ByteSize.toNumberUnsafe(maxUpload) }))
)

export const protection = Layer.unwrap(
  Effect.map(Settings, ({ modelCircuit, modelConcurrency }) =>
    ModelProtection.layer({
      circuit: modelCircuit === "off" ? undefined : modelCircuit.options,
      concurrency: modelConcurrency
    }))
)

/** One folder for registry, runtimes and processors: each reads what another has written. */
export const storage = Layer.unwrap(
  Effect.map(Settings, ({ dataDirectory }) => {
    const directory = `${dataDirectory}/artifacts`
    return Layer.merge(ArtifactStoreFolder.layer({ directory }), ModelStorageFolder.layer({ directory }))
  })
)

export const quota = Layer.effect(
  StorageQuota,
  Effect.map(Settings, ({ quotaModels, quotaStorage }) => ({
    models: quotaModels,
    bytes: ByteSize.toNumberUnsafe(quotaStorage)
  }))
)

export const sagas = Sagas.layer().pipe(Layer.provide(JournalPg.layer()))

export const runnerLimits = Layer.effect(
  RunnerLimits,
  Effect.map(Settings, ({ modelMemoryLimit, inferenceTimeout, loadTimeout, maxLoadedModels }) => ({
    ...defaultRunnerLimits,
    memoryBytes: ByteSize.toNumberUnsafe(modelMemoryLimit),
    inferenceTimeout,
    loadTimeout,
    maxLoaded: maxLoadedModels
  }))
)
