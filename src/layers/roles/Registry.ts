import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { RegistryInternalApi } from "../../api/internal/InternalApi.ts"
import { RegistryApi } from "../../api/internal/RoleApis.ts"
import * as OutboxRelay from "../../messaging/OutboxRelay.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { ArtifactSweep } from "../../services/ArtifactSweep.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import * as Housekeeping from "../../services/Housekeeping.ts"
import * as ModelEventsOutbox from "../../services/ModelEventsOutbox.ts"
import { Models as ModelsService } from "../../services/Models.ts"
import { VersionMoves } from "../../services/VersionMoves.ts"
import * as KeyDigestNode from "../crypto/KeyDigestNode.ts"
import * as Handlers from "../http/Handlers.ts"
import * as HttpServer from "../http/HttpServer.ts"
import * as OwnHandlers from "../http/OwnHandlers.ts"
import * as KeyLookupHandlers from "../internal/KeyLookupHandlers.ts"
import * as ModelLoadingHttp from "../internal/ModelLoadingHttp.ts"
import * as ReadinessUpstreams from "../internal/ReadinessUpstreams.ts"
import { RuntimeUpstream } from "../internal/Upstreams.ts"
import * as ReadinessPg from "../postgres/ReadinessPg.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import * as PlatformMetrics from "../telemetry/PlatformMetrics.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import * as AdminKey from "./AdminKey.ts"
import * as AsynchronousInference from "./AsynchronousInference.ts"
import * as Database from "./Database.ts"
import * as Internal from "./Internal.ts"
import * as Messaging from "./Messaging.ts"
import * as Migrate from "./Migrate.ts"
import * as Models from "./Models.ts"

const useCases = Layer.mergeAll(
  ModelsService.layer,
  Models.versions,
  AsynchronousInference.webhooks,
  ApiKeys.layer,
  Authenticator.layer({ believedUnasked: 0 })
).pipe(
  Layer.provideMerge(Layer.mergeAll(ArtifactSweep.layer, ModelLoadingHttp.layer, Models.quota, Models.sagas)),
  Layer.provideMerge(VersionMoves.layer),
  Layer.provideMerge(ModelEventsOutbox.layer),
  Layer.provideMerge(Models.storage)
)

const background = Layer.mergeAll(
  AdminKey.layer,
  OutboxRelay.layer(),
  Housekeeping.layer,
  Database.payloadSweep,
  PlatformMetrics.messaging
)

const handlers = Layer.mergeAll(Handlers.registry, OwnHandlers.operations, KeyLookupHandlers.layer)

const routes = Layer.merge(HttpApiBuilder.layer(RegistryApi), HttpApiBuilder.layer(RegistryInternalApi))

const server = HttpServer.layer(HttpRouter.toHttpEffect(Layer.provide(routes, handlers))).pipe(
  Layer.provide(Internal.before)
)

const readiness = Layer.provide(ReadinessUpstreams.runtime, Messaging.readiness(ReadinessPg.layer))

/** Models, versions and keys, for the gateways before it. */
export const layer = Layer.merge(server, background).pipe(
  Layer.provide(useCases),
  Layer.provide(Layer.mergeAll(
    Database.repositories,
    Database.messaging,
    readiness,
    KeyDigestNode.layer,
    HttpMetrics.layer
  )),
  Layer.provide(RuntimeUpstream.layer),
  Layer.provide(PolicyDirectory.layer),
  Layer.provide(Prometheus.layer),
  Layer.provide(RequestTraces.layer),
  Layer.provide(Migrate.layer)
)
