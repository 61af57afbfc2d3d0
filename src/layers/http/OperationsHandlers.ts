import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"
import { retryAfter } from "../../api/ResponseHeaders.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { Readiness } from "../../services/Readiness.ts"
import { Prometheus } from "../telemetry/Prometheus.ts"

export const layer = HttpApiBuilder.group(
  MaasApi,
  "operations",
  Effect.fnUntraced(function*(handlers) {
    const readiness = yield* Readiness
    const metrics = yield* Prometheus
    return handlers.handleAll({
      health: () => Effect.succeed({ status: "alive" as const }),
      ready: () =>
        Effect.map(
          readiness.check,
          (state) =>
            HttpServerResponse.jsonUnsafe(
              state,
              state.ready ? { status: 200 } : { status: 503, headers: retryAfter(usualOutageSeconds) }
            )
        ),
      metrics: () =>
        Effect.map(
          metrics.render,
          (text) => HttpServerResponse.text(text, { contentType: "text/plain; version=0.0.4; charset=utf-8" })
        )
    })
  })
)

export const openInferenceServer = HttpApiBuilder.group(
  MaasApi,
  "openInferenceServer",
  Effect.fnUntraced(function*(handlers) {
    const readiness = yield* Readiness
    return handlers.handleAll({
      server: () => Effect.succeed({ name: "maas", version: "0.1.0", extensions: ["model_repository"] }),
      live: () => Effect.void,
      ready: () =>
        Effect.flatMap(
          readiness.check,
          ({ ready }) =>
            ready
              ? Effect.void
              : new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })
        )
    })
  })
)
