import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer } from "effect"
import { HttpIncomingMessage, HttpRouter, HttpServer } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { createServer } from "node:http"
import { MaasApi } from "../../api/MaasApi.ts"
import { Settings } from "../settings/Settings.ts"
import * as Authorization from "./Authorization.ts"
import * as DocsPage from "./DocsPage.ts"
import * as Edge from "./Edge.ts"
import * as InferenceHandlers from "./InferenceHandlers.ts"
import * as KeysHandlers from "./KeysHandlers.ts"
import * as ModelsHandlers from "./ModelsHandlers.ts"
import * as OpenInferenceHandlers from "./OpenInferenceHandlers.ts"
import * as OperationsHandlers from "./OperationsHandlers.ts"
import * as RequestCheck from "./RequestCheck.ts"
import * as VersionsHandlers from "./VersionsHandlers.ts"

/** A client that sends its headers or body more slowly than this is not waited for, in milliseconds. */
const headersTimeout = 30_000
const requestTimeout = 3_600_000

/**
 * While it stops, it ends each connection with the next answer: clients that keep theirs would go on asking on them
 * until the grace is over.
 */
const makeServer = () => {
  const server = createServer({ headersTimeout, requestTimeout })
  return server.on("request", (_, response) => {
    if (!server.listening) response.shouldKeepAlive = false
  })
}

const platform = Layer.unwrap(
  Effect.map(
    Settings,
    ({ host, port, shutdownGrace }) =>
      NodeHttpServer.layer(makeServer, {
        host,
        port,
        gracefulShutdownTimeout: shutdownGrace
      })
  )
)

const handlers = Layer.mergeAll(
  ModelsHandlers.layer,
  VersionsHandlers.layer,
  InferenceHandlers.layer,
  OpenInferenceHandlers.layer,
  KeysHandlers.layer,
  OperationsHandlers.layer
)

const routes = Layer.merge(
  HttpApiBuilder.layer(MaasApi, { openapiPath: "/openapi.json" }),
  DocsPage.layer
).pipe(
  Layer.provide(handlers),
  Layer.provide(Authorization.layer),
  Layer.provide(RequestCheck.layer)
)

const bodyLimit = Layer.effect(HttpIncomingMessage.MaxBodySize, Effect.map(Settings, ({ maxBody }) => maxBody))

/**
 * A part of a path may be as long as Node's limit for the headers of a request, 16 KiB: how long a name may be is for
 * the endpoint's schema to say. The router's own limit of 100 would pass a longer one off as a path that is not there.
 */
const longPaths = Layer.succeed(HttpRouter.RouterConfig, { maxParamLength: 16_384 })

export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const app = yield* HttpRouter.toHttpEffect(routes)
  const edge = yield* Edge.make
  yield* HttpServer.serveEffect(edge(app))
  const server = yield* HttpServer.HttpServer
  yield* Effect.logInfo(`Listening on ${HttpServer.formatAddress(server.address)}`)
})).pipe(
  Layer.provide(Layer.merge(bodyLimit, longPaths)),
  Layer.provide(platform)
)
