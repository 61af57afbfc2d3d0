import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import * as OutboxRelay from "../../messaging/OutboxRelay.ts"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { ArtifactSweep } from "../../services/ArtifactSweep.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import * as DeadLetterRecording from "../../services/DeadLetterRecording.ts"
import { Deployments } from "../../services/Deployments.ts"
import * as Housekeeping from "../../services/Housekeeping.ts"
import { Inference } from "../../services/Inference.ts"
import * as ModelEventsConsumer from "../../services/ModelEventsConsumer.ts"
import * as ModelEventsOutbox from "../../services/ModelEventsOutbox.ts"
import { ModelLoading } from "../../services/ModelLoading.ts"
import { Models as ModelsService } from "../../services/Models.ts"
import { Pipeline } from "../../services/Pipeline.ts"
import * as Retirement from "../../services/Retirement.ts"
import { VersionMoves } from "../../services/VersionMoves.ts"
import * as KeyDigestNode from "../crypto/KeyDigestNode.ts"
import * as Handlers from "../http/Handlers.ts"
import * as HttpServer from "../http/HttpServer.ts"
import { OtherCircuits } from "../http/OtherCircuits.ts"
import * as OwnHandlers from "../http/OwnHandlers.ts"
import * as PublicApi from "../http/PublicApi.ts"
import * as ModelRuntimeOnnx from "../onnx/ModelRuntimeOnnx.ts"
import * as ReadinessPg from "../postgres/ReadinessPg.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import * as PlatformMetrics from "../telemetry/PlatformMetrics.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import * as AdminKey from "./AdminKey.ts"
import * as AsynchronousInference from "./AsynchronousInference.ts"
import * as Database from "./Database.ts"
import * as Messaging from "./Messaging.ts"
import * as Migrate from "./Migrate.ts"
import * as Models from "./Models.ts"
import * as Protection from "./Protection.ts"

const runtime = ModelRuntimeOnnx.layer.pipe(Layer.provide(Models.runnerLimits), Layer.provideMerge(Models.storage))

const useCases = Layer.mergeAll(
  ModelsService.layer,
  Models.versions,
  AsynchronousInference.tasks,
  AsynchronousInference.webhooks,
  ApiKeys.layer,
  Authenticator.layer({ believedUnasked: 0 }),
  Pipeline.layer
).pipe(
  Layer.provideMerge(Inference.layer),
  Layer.provideMerge(Layer.mergeAll(ArtifactSweep.layer, ModelLoading.layer, Models.quota, Models.sagas)),
  Layer.provideMerge(Layer.mergeAll(Deployments.layer, VersionMoves.layer, Models.protection)),
  Layer.provideMerge(ModelEventsOutbox.layer)
)

const background = Layer.mergeAll(
  AdminKey.layer,
  OutboxRelay.layer(),
  ModelEventsConsumer.layer,
  DeadLetterRecording.layer,
  AsynchronousInference.processing,
  AsynchronousInference.telling,
  Retirement.layer,
  Housekeeping.layer,
  Database.payloadSweep,
  PlatformMetrics.runners,
  PlatformMetrics.messaging
)

const handlers = Layer.mergeAll(
  Handlers.registry,
  Handlers.runtime,
  Layer.provide(OwnHandlers.all, OtherCircuits.none)
)

const server = HttpServer.layer(HttpRouter.toHttpEffect(Layer.provide(PublicApi.routes, handlers))).pipe(
  Layer.provide(PublicApi.before)
)

const readiness = Messaging.readiness(Protection.readiness(ReadinessPg.layer))

/** Every role in one process. */
export const layer = Layer.merge(server, background).pipe(
  Layer.provide(useCases),
  Layer.provide(runtime),
  Layer.provide(
    Layer.mergeAll(Database.repositories, Database.messaging, readiness, KeyDigestNode.layer, HttpMetrics.layer)
  ),
  Layer.provide(Protection.layer),
  Layer.provide(Prometheus.layer),
  Layer.provide(RequestTraces.layer),
  Layer.provide(Migrate.layer)
)
