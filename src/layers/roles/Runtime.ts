import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { RuntimeInternalApi } from "../../api/internal/InternalApi.ts"
import { RuntimeApi } from "../../api/internal/RoleApis.ts"
import { Deployments } from "../../services/Deployments.ts"
import { Inference } from "../../services/Inference.ts"
import * as Retirement from "../../services/Retirement.ts"
import * as Handlers from "../http/Handlers.ts"
import * as HttpServer from "../http/HttpServer.ts"
import { OtherCircuits } from "../http/OtherCircuits.ts"
import * as OwnHandlers from "../http/OwnHandlers.ts"
import * as DeploymentsHandlers from "../internal/DeploymentsHandlers.ts"
import * as ModelRuntimeOnnx from "../onnx/ModelRuntimeOnnx.ts"
import * as ReadinessPg from "../postgres/ReadinessPg.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import * as PlatformMetrics from "../telemetry/PlatformMetrics.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import * as AsynchronousInference from "./AsynchronousInference.ts"
import * as Database from "./Database.ts"
import * as Internal from "./Internal.ts"
import * as Migrate from "./Migrate.ts"
import * as Models from "./Models.ts"
import * as Protection from "./Protection.ts"

const useCases = AsynchronousInference.tasks.pipe(
  Layer.provideMerge(Inference.layer),
  Layer.provideMerge(Layer.merge(Deployments.layer, Models.protection))
)

const runtime = ModelRuntimeOnnx.layer.pipe(Layer.provide(Models.runnerLimits), Layer.provide(Models.storage))

const handlers = Layer.mergeAll(
  Handlers.runtime,
  Layer.provide(OwnHandlers.circuits, OtherCircuits.none),
  OwnHandlers.operations,
  DeploymentsHandlers.layer
)

const routes = Layer.merge(HttpApiBuilder.layer(RuntimeApi), HttpApiBuilder.layer(RuntimeInternalApi))

const server = HttpServer.layer(HttpRouter.toHttpEffect(Layer.provide(routes, handlers))).pipe(
  Layer.provide(Internal.before)
)

const readiness = Protection.readiness(ReadinessPg.layer)

/** Loads models and lets them answer, for the gateways before it. */
export const layer = Layer.mergeAll(server, Retirement.layer, PlatformMetrics.runners).pipe(
  Layer.provide(useCases),
  Layer.provide(runtime),
  Layer.provide(
    Layer.mergeAll(Database.repositories, Database.outbox, readiness, HttpMetrics.layer)
  ),
  Layer.provide(Protection.circuits),
  Layer.provide(Prometheus.layer),
  Layer.provide(RequestTraces.layer),
  Layer.provide(Migrate.layer)
)
