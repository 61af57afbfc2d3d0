/** What is asked of the runtime by the roles that serve no models themselves. */
import { Duration, Effect } from "effect"
import { HttpApiClient } from "effect/http-api"
import { RuntimeInternalApi } from "../../api/internal/InternalApi.ts"
import type { ModelRuntime } from "../../services/ModelRuntime.ts"
import { needed, Settings } from "../settings/Settings.ts"
import { isUnusable, make as makeClient, toUnavailable } from "./InternalClient.ts"
import { RuntimeUpstream } from "./Upstreams.ts"

type Asked = Pick<ModelRuntime["Service"], "deploy" | "infer" | "unload">

export const make = Effect.gen(function*() {
  const { inferenceTimeout, loadTimeout } = yield* Settings
  // A call may wait twice as long as it runs, and loading warms up besides
  const patience = Duration.sum(Duration.times(inferenceTimeout, 3), Duration.times(loadTimeout, 2))
  const httpClient = makeClient(yield* RuntimeUpstream, yield* needed("internalSecret"), patience)
  const { deployments } = yield* HttpApiClient.makeWith(RuntimeInternalApi, { httpClient, baseUrl: "http://runtime" })
  const away = toUnavailable("runtime")

  return {
    deploy: (deployment) => Effect.catchIf(deployments.deploy({ payload: deployment }), isUnusable, away),
    infer: (deployment, inputs) =>
      Effect.catchIf(deployments.run({ payload: { deployment, inputs } }), isUnusable, away),
    // Every runtime hears by itself of what is gone: see `Retirement`
    unload: () => Effect.void
  } satisfies Asked
})
