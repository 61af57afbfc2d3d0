/** The runtime's part of the API as a gateway answers it: from the runtime, or with what it said last. */
import { Duration, Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { InferenceApi } from "../../api/InferenceApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { OpenInferenceApi } from "../../api/OpenInferenceApi.ts"
import { preferencesOf } from "../http/Prefer.ts"
import { usualPatience } from "./Forwarding.ts"
import { RuntimeUpstream } from "./Upstreams.ts"

const inference = HttpApiBuilder.group(
  MaasApi,
  "inference",
  Effect.fnUntraced(function*(handlers) {
    const { forward, calls } = yield* RuntimeUpstream
    const infer = calls(InferenceApi.endpoints.infer, (path) => path === InferenceApi.endpoints.infer.path)
    return handlers.handleRaw("infer", ({ request, headers }) => {
      if (headers.prefer !== undefined) {
        const wait = preferencesOf(headers.prefer).wait ?? Duration.zero
        return forward(request, Duration.sum(usualPatience, wait))
      }
      return headers["idempotency-key"] === undefined ? infer(request) : forward(request)
    })
  })
)

const { endpoints } = OpenInferenceApi
const inferPath = /^\/v2\/models\/[a-z0-9._-]{1,63}\/infer$/
const versionInferPath = /^\/v2\/models\/[a-z0-9._-]{1,63}\/versions\/[1-9][0-9]{0,8}\/infer$/

const openInference = HttpApiBuilder.group(
  MaasApi,
  "openInference",
  Effect.fnUntraced(function*(handlers) {
    const { forward, calls } = yield* RuntimeUpstream
    const infer = calls(endpoints.infer, (path) => inferPath.test(path))
    const versionInfer = calls(endpoints.versionInfer, (path) => versionInferPath.test(path))
    return handlers
      .handleRaw("metadata", ({ request }) => forward(request))
      .handleRaw("versionMetadata", ({ request }) => forward(request))
      .handleRaw("modelReady", ({ request }) => forward(request))
      .handleRaw("versionReady", ({ request }) => forward(request))
      .handleRaw("index", ({ request }) => forward(request))
      .handleRaw("infer", ({ request }) => infer(request))
      .handleRaw("versionInfer", ({ request }) => versionInfer(request))
  })
)

export const layer = Layer.merge(inference, openInference)
