import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Effect, Layer, Scope } from "effect"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpIncomingMessage, HttpMiddleware, HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import type { Server } from "node:http"
import { defaultPort } from "../settings/RoleSettings.ts"
import { Settings } from "../settings/Settings.ts"
import { HttpMetrics } from "../telemetry/HttpMetrics.ts"
import { AddressUnusable } from "./AddressUnusable.ts"
import * as CallDeadline from "./CallDeadline.ts"
import * as Edge from "./Edge.ts"
import { ExpressLane } from "./ExpressLane.ts"

/** A client that sends its headers or body more slowly than this is not waited for, in milliseconds. */
const headersTimeout = 30_000
const requestTimeout = 3_600_000

const bodyLimit = Layer.effect(HttpIncomingMessage.MaxBodySize, Effect.map(Settings, ({ maxBody }) => maxBody))

/**
 * A part of a path may be as long as Node's limit for the headers of a request, 16 KiB: how long a name may be is for
 * the endpoint's schema to say. The router's own limit of 100 would pass a longer one off as a path that is not there.
 */
const longPaths = Layer.succeed(HttpRouter.RouterConfig, { maxParamLength: 16_384 })

/** The edge and the lane begin the spans of requests: see `RequestTraces`. */
const ownSpans = Layer.succeed(HttpMiddleware.TracerDisabledWhen, () => true)

type App = Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  unknown,
  Scope.Scope | HttpServerRequest.HttpServerRequest
>

/** Listens until the scope closes. Then it takes no more, and gives what is being answered `shutdownGrace` to end. */
const listen = <E, R>(routes: Effect.Effect<App, E, R>) =>
  Effect.gen(function*() {
    const { host, role, port = defaultPort[role], shutdownGrace } = yield* Settings
    const lane = yield* ExpressLane
    const app = yield* routes
    const edge = yield* Edge.make
    const metrics = yield* HttpMetrics
    const server = createServer({ headersTimeout, requestTimeout })
    server.on("connection", (socket) => {
      metrics.connectionOpened()
      socket.on("close", metrics.connectionClosed)
    })
    const { address } = yield* Effect.catchTag(
      NodeHttpServer.make(() => server, { host, port }),
      "ServeError",
      AddressUnusable.from(host, port)
    )
    const requests = yield* Effect.acquireRelease(Scope.make("parallel"), (scope, exit) => Scope.close(scope, exit))
    const general = yield* NodeHttpServer.makeHandler(edge(CallDeadline.honour(app)), { scope: requests })
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

/** Serves the routes, as `HttpRouter.toHttpEffect` makes them. */
export const layer = <E, R>(routes: Effect.Effect<App, E, R>) =>
  Layer.effectDiscard(listen(routes)).pipe(
    Layer.provide(Layer.mergeAll(bodyLimit, longPaths, ownSpans, NodeHttpServer.layerHttpServices))
  )
