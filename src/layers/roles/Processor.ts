import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { ProcessorApi } from "../../api/internal/RoleApis.ts"
import * as OutboxRelay from "../../messaging/OutboxRelay.ts"
import { ArtifactSweep } from "../../services/ArtifactSweep.ts"
import * as DeadLetterRecording from "../../services/DeadLetterRecording.ts"
import { Deployments } from "../../services/Deployments.ts"
import { Inference } from "../../services/Inference.ts"
import * as ModelEventsConsumer from "../../services/ModelEventsConsumer.ts"
import * as ModelEventsOutbox from "../../services/ModelEventsOutbox.ts"
import { Pipeline } from "../../services/Pipeline.ts"
import { VersionMoves } from "../../services/VersionMoves.ts"
import * as HttpServer from "../http/HttpServer.ts"
import * as OwnHandlers from "../http/OwnHandlers.ts"
import * as ModelRuntimeHttp from "../internal/ModelRuntimeHttp.ts"
import * as ReadinessUpstreams from "../internal/ReadinessUpstreams.ts"
import { RuntimeUpstream } from "../internal/Upstreams.ts"
import * as ReadinessPg from "../postgres/ReadinessPg.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import * as PlatformMetrics from "../telemetry/PlatformMetrics.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import * as AsynchronousInference from "./AsynchronousInference.ts"
import * as Database from "./Database.ts"
import * as Internal from "./Internal.ts"
import * as Messaging from "./Messaging.ts"
import * as Migrate from "./Migrate.ts"
import * as Models from "./Models.ts"
import * as Protection from "./Protection.ts"

const useCases = Layer.mergeAll(Pipeline.layer, ArtifactSweep.layer, Inference.layer).pipe(
  Layer.provideMerge(Layer.mergeAll(Deployments.layer, VersionMoves.layer, Models.protection)),
  Layer.provideMerge(ModelEventsOutbox.layer)
)

const runtime = ModelRuntimeHttp.layer.pipe(Layer.provide(Models.runnerLimits), Layer.provideMerge(Models.storage))

const background = Layer.mergeAll(
  OutboxRelay.layer(),
  ModelEventsConsumer.layer,
  DeadLetterRecording.layer,
  AsynchronousInference.processing,
  AsynchronousInference.telling,
  PlatformMetrics.runners,
  PlatformMetrics.messaging
)

const server = HttpServer.layer(
  HttpRouter.toHttpEffect(Layer.provide(HttpApiBuilder.layer(ProcessorApi), OwnHandlers.operations))
).pipe(Layer.provide(Internal.before))

const readiness = Layer.provide(
  ReadinessUpstreams.runtime,
  Messaging.readiness(Protection.readiness(ReadinessPg.layer))
)

/** Does in the background what events ask for. */
export const layer = Layer.merge(server, background).pipe(
  Layer.provide(useCases),
  Layer.provide(runtime),
  Layer.provide(Layer.mergeAll(Database.repositories, Database.messaging, readiness, HttpMetrics.layer)),
  Layer.provide(RuntimeUpstream.layer),
  Layer.provide(Protection.circuits),
  Layer.provide(Prometheus.layer),
  Layer.provide(RequestTraces.layer),
  Layer.provide(Migrate.layer)
)
