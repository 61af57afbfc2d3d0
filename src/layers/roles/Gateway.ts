import { Layer } from "effect"
import { HttpRouter } from "effect/http"
import { Authenticator } from "../../services/Authenticator.ts"
import * as KeyDigestNode from "../crypto/KeyDigestNode.ts"
import * as HttpServer from "../http/HttpServer.ts"
import * as OwnHandlers from "../http/OwnHandlers.ts"
import * as PublicApi from "../http/PublicApi.ts"
import * as ApiKeyLookupHttp from "../internal/ApiKeyLookupHttp.ts"
import * as IdempotencyMemory from "../internal/IdempotencyMemory.ts"
import * as ReadinessUpstreams from "../internal/ReadinessUpstreams.ts"
import * as RegistryForwarding from "../internal/RegistryForwarding.ts"
import * as RuntimeCircuits from "../internal/RuntimeCircuits.ts"
import * as RuntimeForwarding from "../internal/RuntimeForwarding.ts"
import { RegistryUpstream, RuntimeUpstream } from "../internal/Upstreams.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"
import { RequestTraces } from "../telemetry/RequestTraces.ts"
import * as Protection from "./Protection.ts"
import * as StartingMemory from "./StartingMemory.ts"

const handlers = Layer.mergeAll(
  RegistryForwarding.layer,
  RuntimeForwarding.layer,
  Layer.provide(OwnHandlers.all, RuntimeCircuits.layer)
)

const server = HttpServer.layer(HttpRouter.toHttpEffect(Layer.provide(PublicApi.routes, handlers))).pipe(
  Layer.provide(PublicApi.before)
)

/** While the registry is away; who revokes a key then can do so nowhere. */
const authenticator = Authenticator.layer({ believedUnasked: "10 minutes" }).pipe(
  Layer.provide(Layer.merge(ApiKeyLookupHttp.layer, KeyDigestNode.layer))
)

/** What everybody may call: keys, limits and circuits, before the registry and the runtime. */
export const layer = StartingMemory.givenBack.pipe(
  Layer.provide(server),
  Layer.provide(Layer.mergeAll(authenticator, IdempotencyMemory.layer, HttpMetrics.layer)),
  Layer.provide(Protection.readiness(ReadinessUpstreams.gateway)),
  Layer.provide(Layer.merge(RegistryUpstream.layer, RuntimeUpstream.layer)),
  Layer.provide(Protection.layer),
  Layer.provide(Prometheus.layer),
  Layer.provide(RequestTraces.layer)
)
