import { ByteSize, Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import * as OutboxRelay from "../../messaging/OutboxRelay.ts"
import * as Sagas from "../../saga/Sagas.ts"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { ArtifactSweep } from "../../services/ArtifactSweep.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { Deployments } from "../../services/Deployments.ts"
import * as Housekeeping from "../../services/Housekeeping.ts"
import { Inference } from "../../services/Inference.ts"
import * as ModelEventsConsumer from "../../services/ModelEventsConsumer.ts"
import * as ModelEventsOutbox from "../../services/ModelEventsOutbox.ts"
import { ModelLoading } from "../../services/ModelLoading.ts"
import { ModelProtection } from "../../services/ModelProtection.ts"
import { Models } from "../../services/Models.ts"
import { Pipeline } from "../../services/Pipeline.ts"
import { StorageQuota } from "../../services/StorageQuota.ts"
import { VersionMoves } from "../../services/VersionMoves.ts"
import { Versions } from "../../services/Versions.ts"
import * as KeyDigestNode from "../crypto/KeyDigestNode.ts"
import * as Handlers from "../http/Handlers.ts"
import * as HttpServer from "../http/HttpServer.ts"
import * as PublicApi from "../http/PublicApi.ts"
import * as ModelRuntimeOnnx from "../onnx/ModelRuntimeOnnx.ts"
import { defaultRunnerLimits, RunnerLimits } from "../onnx/RunnerLimits.ts"
import * as ApiKeyRepositoryPg from "../postgres/ApiKeyRepositoryPg.ts"
import * as IdempotencyPg from "../postgres/IdempotencyPg.ts"
import * as InboxPg from "../postgres/messaging/InboxPg.ts"
import * as Notifications from "../postgres/messaging/Notifications.ts"
import * as OutboxPg from "../postgres/messaging/OutboxPg.ts"
import * as ModelChangesPg from "../postgres/ModelChangesPg.ts"
import * as ModelRepositoryPg from "../postgres/ModelRepositoryPg.ts"
import * as ReadinessPg from "../postgres/ReadinessPg.ts"
import * as JournalPg from "../postgres/saga/JournalPg.ts"
import * as TransactionPg from "../postgres/TransactionPg.ts"
import { Settings } from "../settings/Settings.ts"
import * as ArtifactStoreFolder from "../storage/ArtifactStoreFolder.ts"
import * as ModelStorageFolder from "../storage/ModelStorageFolder.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import * as PlatformMetrics from "../telemetry/PlatformMetrics.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import * as AdminKey from "./AdminKey.ts"
import * as AsynchronousInference from "./AsynchronousInference.ts"
import * as Messaging from "./Messaging.ts"
import * as Migrate from "./Migrate.ts"
import * as Protection from "./Protection.ts"

const versions = Layer.unwrap(
  Effect.map(Settings, ({ maxUpload }) => Versions.layer({ maxUploadBytes: ByteSize.toNumberUnsafe(maxUpload) }))
)

const modelProtection = Layer.unwrap(
  Effect.map(Settings, ({ modelCircuit, modelConcurrency }) =>
    ModelProtection.layer({
      circuit: modelCircuit === "off" ? undefined : modelCircuit.options,
      concurrency: modelConcurrency
    }))
)

const storage = Layer.unwrap(
  Effect.map(Settings, ({ dataDirectory }) => {
    const directory = `${dataDirectory}/artifacts`
    return Layer.merge(ArtifactStoreFolder.layer({ directory }), ModelStorageFolder.layer({ directory }))
  })
)

const storageQuota = Layer.effect(
  StorageQuota,
  Effect.map(Settings, ({ quotaModels, quotaStorage }) => ({
    models: quotaModels,
    bytes: ByteSize.toNumberUnsafe(quotaStorage)
  }))
)

const sagas = Sagas.layer().pipe(Layer.provide(JournalPg.layer()))

const runnerLimits = Layer.effect(
  RunnerLimits,
  Effect.map(Settings, ({ modelMemoryLimit, inferenceTimeout, loadTimeout, maxLoadedModels }) => ({
    ...defaultRunnerLimits,
    memoryBytes: ByteSize.toNumberUnsafe(modelMemoryLimit),
    inferenceTimeout,
    loadTimeout,
    maxLoaded: maxLoadedModels
  }))
)

const repositories = Layer.mergeAll(
  ModelRepositoryPg.layer,
  ApiKeyRepositoryPg.layer,
  IdempotencyPg.layer,
  ModelChangesPg.layer,
  TransactionPg.layer,
  Messaging.readiness(Protection.readiness(ReadinessPg.layer)),
  KeyDigestNode.layer,
  HttpMetrics.layer
)

const messaging = Layer.mergeAll(Messaging.eventLog, OutboxPg.layer(), InboxPg.layer()).pipe(
  Layer.provideMerge(Notifications.layer)
)

const runtime = ModelRuntimeOnnx.layer.pipe(Layer.provide(runnerLimits), Layer.provideMerge(storage))

const useCases = Layer.mergeAll(
  Models.layer,
  versions,
  AsynchronousInference.tasks,
  ApiKeys.layer,
  Authenticator.layer,
  Pipeline.layer
).pipe(
  Layer.provideMerge(Inference.layer),
  Layer.provideMerge(Layer.mergeAll(ArtifactSweep.layer, ModelLoading.layer, storageQuota, sagas)),
  Layer.provideMerge(Layer.mergeAll(Deployments.layer, VersionMoves.layer, modelProtection)),
  Layer.provideMerge(ModelEventsOutbox.layer)
)

const background = Layer.mergeAll(
  AdminKey.layer,
  OutboxRelay.layer(),
  ModelEventsConsumer.layer,
  AsynchronousInference.processing,
  Housekeeping.layer,
  PlatformMetrics.layer
)

const handlers = Layer.mergeAll(Handlers.registry, Handlers.runtime, Handlers.own)

const server = HttpServer.layer(HttpRouter.toHttpEffect(Layer.provide(PublicApi.routes, handlers))).pipe(
  Layer.provide(PublicApi.before)
)

/** Every role in one process. */
export const layer = Layer.merge(server, background).pipe(
  Layer.provide(useCases),
  Layer.provide(runtime),
  Layer.provide(Layer.merge(repositories, messaging)),
  Layer.provide(Protection.layer),
  Layer.provide(Prometheus.layer),
  Layer.provide(RequestTraces.layer),
  Layer.provide(Migrate.layer)
)
