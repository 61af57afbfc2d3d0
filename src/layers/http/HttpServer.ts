import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Scope } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { createServer } from "node:http"
import type { Server } from "node:http"
import { MaasApi } from "../../api/MaasApi.ts"
import { defaultPort, Settings } from "../settings/Settings.ts"
import * as Authorization from "./Authorization.ts"
import * as CircuitsHandlers from "./CircuitsHandlers.ts"
import { ClientAddress } from "./ClientAddress.ts"
import * as DocsPage from "./DocsPage.ts"
import * as Edge from "./Edge.ts"
import * as ExpressLane from "./ExpressLane.ts"
import * as InferenceHandlers from "./InferenceHandlers.ts"
import * as KeysHandlers from "./KeysHandlers.ts"
import * as LimitsHandlers from "./LimitsHandlers.ts"
import * as ModelsHandlers from "./ModelsHandlers.ts"
import * as OpenInferenceHandlers from "./OpenInferenceHandlers.ts"
import * as OperationsHandlers from "./OperationsHandlers.ts"
import * as RateLimits from "./RateLimits.ts"
import * as RequestCheck from "./RequestCheck.ts"
import { RequestCounter } from "./RequestCounter.ts"
import { RequestLimits } from "./RequestLimits.ts"
import * as VersionsHandlers from "./VersionsHandlers.ts"
import { WrongKeys } from "./WrongKeys.ts"

/** A client that sends its headers or body more slowly than this is not waited for, in milliseconds. */
const headersTimeout = 30_000
const requestTimeout = 3_600_000

const handlers = Layer.mergeAll(
  ModelsHandlers.layer,
  VersionsHandlers.layer,
  InferenceHandlers.layer,
  OpenInferenceHandlers.layer,
  KeysHandlers.layer,
  CircuitsHandlers.layer,
  LimitsHandlers.layer,
  OperationsHandlers.layer
)

const routes = Layer.merge(
  HttpApiBuilder.layer(MaasApi, { openapiPath: "/openapi.json" }),
  DocsPage.layer
).pipe(
  Layer.provide(handlers),
  Layer.provide(Authorization.layer),
  Layer.provide(RateLimits.layer),
  Layer.provide(RequestCheck.layer),
  Layer.provide(WrongKeys.layer)
)

const counting = RequestCounter.layer.pipe(
  Layer.provideMerge(RequestLimits.layer),
  Layer.provideMerge(ClientAddress.layer)
)

const bodyLimit = Layer.effect(HttpIncomingMessage.MaxBodySize, Effect.map(Settings, ({ maxBody }) => maxBody))

/**
 * A part of a path may be as long as Node's limit for the headers of a request, 16 KiB: how long a name may be is for
 * the endpoint's schema to say. The router's own limit of 100 would pass a longer one off as a path that is not there.
 */
const longPaths = Layer.succeed(HttpRouter.RouterConfig, { maxParamLength: 16_384 })

/** Listens until the scope closes. Then it takes no more, and gives what is being answered `shutdownGrace` to end. */
const listen = Effect.gen(function*() {
  const { host, role, port = defaultPort[role], shutdownGrace } = yield* Settings
  const lane = yield* ExpressLane.ExpressLane
  const app = yield* HttpRouter.toHttpEffect(routes)
  const edge = yield* Edge.make
  const server = createServer({ headersTimeout, requestTimeout })
  const { address } = yield* NodeHttpServer.make(() => server, { host, port })
  const requests = yield* Effect.acquireRelease(Scope.make("parallel"), (scope, exit) => Scope.close(scope, exit))
  const general = yield* NodeHttpServer.makeHandler(edge(app), { scope: requests })
  yield* Effect.addFinalizer(() => Effect.timeoutOption(closed(server), shutdownGrace))
  server.on("request", (request, response) => {
    // Clients that keep their connections would go on asking on them until the grace is over
    if (!server.listening) response.shouldKeepAlive = false
    if (!lane.take(request, response, general, requests)) general(request, response)
  })
  yield* Effect.logInfo(`Listening on ${HttpServer.formatAddress(address)}`)
})

const closed = (server: Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    server.close(() => resume(Effect.void))
  })

export const layer = Layer.effectDiscard(listen).pipe(
  Layer.provide(ExpressLane.layer),
  Layer.provide(counting),
  Layer.provide(Layer.mergeAll(bodyLimit, longPaths, NodeHttpServer.layerHttpServices))
)
