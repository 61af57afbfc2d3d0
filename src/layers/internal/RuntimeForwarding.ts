/** The runtime's part of the API as a gateway answers it: from the runtime, or with what it said last. */
import { Clock, Duration, Effect, Layer } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { HttpApiBuilder } from "effect/http-api"
import { hash } from "node:crypto"
import { InferenceApi } from "../../api/InferenceApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { OpenInferenceApi } from "../../api/OpenInferenceApi.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { show } from "../../resilience/PulledMetrics.ts"
import * as Retry from "../../resilience/Retry.ts"
import { asksForMore, ExpressLane } from "../http/ExpressLane.ts"
import type { LaneAnswer } from "../http/ExpressLane.ts"
import { preferencesOf } from "../http/Prefer.ts"
import { needed, Settings } from "../settings/Settings.ts"
import * as Forwarding from "./Forwarding.ts"
import { OtherAnswer } from "./Forwarding.ts"
import { StaleAnswers } from "./StaleAnswers.ts"
import { RuntimeUpstream } from "./Upstreams.ts"

/** A call may wait twice as long as it runs, and may find its model not loaded yet. */
const patience = Effect.map(
  Settings,
  ({ inferenceTimeout, loadTimeout }) => Duration.sum(Duration.times(inferenceTimeout, 3), loadTimeout)
)

const forwarder = Effect.gen(function*() {
  return Forwarding.forwarder(yield* RuntimeUpstream, yield* needed("internalSecret"), yield* patience)
})

const json = { "content-type": "application/json" }

/** Lets a model answer, from text to text. It changes nothing, so that it may be asked again. */
const asker = Effect.fnUntraced(function*(cache: string) {
  const upstream = yield* RuntimeUpstream
  const fields = Forwarding.fieldsFor(yield* needed("internalSecret"))
  const kept = new StaleAnswers(yield* Clock.Clock)
  yield* show(kept.readings(cache))
  const longest = yield* patience

  return (
    path: string,
    body: string,
    caller: Principal
  ): Effect.Effect<LaneAnswer, OtherAnswer | DependencyUnavailable> => {
    const key = `${path} ${hash("sha1", body, "base64url")}`
    return Effect.matchEffect(
      Effect.flatMap(
        Forwarding.traced(fields(json, caller)),
        (headers) => upstream.ask({ method: "POST", path, headers, body, patience: longest, call: Retry.safe })
      ),
      {
        onSuccess: (answer) => {
          if (answer.status !== 200) return Effect.fail(new OtherAnswer({ response: Forwarding.asItIs(answer) }))
          kept.keep(key, answer.body, json["content-type"])
          return Effect.succeed({ text: answer.body })
        },
        onFailure: (failure) => Forwarding.noAnswer("runtime", failure, kept.respond(key))
      }
    )
  }
})

/** What goes from text to text; everything else is handed on as it is. */
const isPlain = ({ headers }: HttpServerRequest.HttpServerRequest): boolean =>
  (headers["content-type"] ?? "").startsWith("application/json") && !asksForMore(headers)

/** Opens the express lane for an endpoint that lets a model answer, and answers with its handler. */
const caller = Effect.fnUntraced(function*(cache: string) {
  const forward = yield* forwarder
  const lane = yield* ExpressLane
  const ask = yield* asker(cache)
  return (endpoint: HttpApiEndpoint.Top, isPath: (path: string) => boolean) => {
    const handle = lane.open({ endpoint, match: (path) => isPath(path) ? path : undefined, answer: ask })
    return (request: HttpServerRequest.HttpServerRequest) =>
      isPlain(request)
        ? Effect.catchTag(handle(request, request.url), "OtherAnswer", ({ response }) => Effect.succeed(response))
        : forward(request, preferencesOf(request.headers["prefer"]).wait)
  }
})

const inference = HttpApiBuilder.group(
  MaasApi,
  "inference",
  Effect.fnUntraced(function*(handlers) {
    const calls = yield* caller("inference")
    const infer = calls(InferenceApi.endpoints.infer, (path) => path === InferenceApi.endpoints.infer.path)
    return handlers.handleRaw("infer", ({ request }) => infer(request))
  })
)

const { endpoints } = OpenInferenceApi
const inferPath = /^\/v2\/models\/[a-z0-9._-]{1,63}\/infer$/
const versionInferPath = /^\/v2\/models\/[a-z0-9._-]{1,63}\/versions\/[1-9][0-9]{0,8}\/infer$/

const openInference = HttpApiBuilder.group(
  MaasApi,
  "openInference",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    const calls = yield* caller("open-inference")
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

const tasks = HttpApiBuilder.group(
  MaasApi,
  "tasks",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    return handlers
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request }) => forward(request))
      .handleRaw("cancel", ({ request }) => forward(request))
      .handleRaw("events", ({ request }) => forward(request))
  })
)

export const layer = Layer.mergeAll(inference, tasks, openInference)
