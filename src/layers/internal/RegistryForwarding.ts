/** The registry's part of the API as a gateway answers it: from the registry, or with what it said last. */
import { Clock, Effect, Layer } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { show } from "../../resilience/PulledMetrics.ts"
import * as Retry from "../../resilience/Retry.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { patienceOf } from "../http/Preconditions.ts"
import { needed, Settings } from "../settings/Settings.ts"
import * as Forwarding from "./Forwarding.ts"
import type { Forward } from "./Forwarding.ts"
import { StaleAnswers } from "./StaleAnswers.ts"
import { RegistryUpstream } from "./Upstreams.ts"

const forwarder = Effect.gen(function*() {
  const { upstreamTimeout } = yield* Settings
  return Forwarding.forwarder(yield* RegistryUpstream, yield* needed("internalSecret"), upstreamTimeout)
})

/** As `forwarder`, for what only reads: while the registry is away, its last answer, labelled as such. */
const reader = Effect.gen(function*() {
  const { upstreamTimeout } = yield* Settings
  const upstream = yield* RegistryUpstream
  const kept = new StaleAnswers(yield* Clock.Clock)
  yield* show(kept.readings("registry"))
  const fields = Forwarding.fieldsFor(yield* needed("internalSecret"))

  const read: Forward = Effect.fnUntraced(function*(request) {
    const key = request.url
    const answer = yield* Effect.result(upstream.ask({
      method: request.method,
      path: request.url,
      headers: yield* Forwarding.traced(fields(request.headers, yield* Caller)),
      body: null,
      patience: upstreamTimeout,
      call: Retry.safe
    }))
    if (answer._tag === "Failure") {
      return kept.respond(key) ?? (yield* Forwarding.unavailable("registry", answer.failure))
    }
    const { status, headers, body } = answer.success
    const contentType = Forwarding.contentTypeOf(headers)
    const asItIs = () =>
      HttpServerResponse.text(body, { status, headers: Forwarding.answerFields(headers), contentType })
    if (status === 200) kept.keep(key, body, contentType)
    else if (status === 404) kept.forget(key)
    return status >= 500 ? kept.respond(key) ?? asItIs() : asItIs()
  })
  return read
})

const models = HttpApiBuilder.group(
  MaasApi,
  "models",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    const read = yield* reader
    return handlers
      .handleRaw("create", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => read(request))
      .handleRaw("get", ({ request }) => read(request))
      .handleRaw("update", ({ request }) => forward(request))
      .handleRaw("remove", ({ request }) => forward(request))
      .handleRaw("setAlias", ({ request }) => forward(request))
      .handleRaw("removeAlias", ({ request }) => forward(request))
  })
)

const versions = HttpApiBuilder.group(
  MaasApi,
  "versions",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    const read = yield* reader
    return handlers
      .handleRaw("add", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => read(request))
      .handleRaw(
        "get",
        ({ request, query }) => query.wait === undefined ? read(request) : forward(request, patienceOf(query.wait))
      )
      .handleRaw("remove", ({ request }) => forward(request))
      .handleRaw("upload", ({ request }) => forward(request))
      .handleRaw("download", ({ request }) => forward(request))
      .handleRaw("events", ({ request }) => forward(request))
  })
)

const keys = HttpApiBuilder.group(
  MaasApi,
  "keys",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    const authenticator = yield* Authenticator
    return handlers
      .handleRaw("create", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request }) => forward(request))
      // Here at once, and within seconds behind other gateways
      .handleRaw("revoke", ({ request }) => Effect.tap(forward(request), authenticator.forget))
  })
)

const webhooks = HttpApiBuilder.group(
  MaasApi,
  "webhooks",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    return handlers
      .handleRaw("create", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request }) => forward(request))
      .handleRaw("remove", ({ request }) => forward(request))
      .handleRaw("rotateSecret", ({ request }) => forward(request))
      .handleRaw("deliveries", ({ request }) => forward(request))
      .handleRaw("delivery", ({ request }) => forward(request))
      .handleRaw("redeliver", ({ request }) => forward(request))
  })
)

const deadLetters = HttpApiBuilder.group(
  MaasApi,
  "deadLetters",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    return handlers
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request }) => forward(request))
      .handleRaw("replay", ({ request }) => forward(request))
      .handleRaw("replayAll", ({ request }) => forward(request))
      .handleRaw("discard", ({ request }) => forward(request))
  })
)

const events = HttpApiBuilder.group(
  MaasApi,
  "events",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    return handlers
      .handleRaw("waiting", ({ request }) => forward(request))
      .handleRaw("backlog", ({ request }) => forward(request))
      .handleRaw("topics", ({ request }) => forward(request))
  })
)

const sagas = HttpApiBuilder.group(
  MaasApi,
  "sagas",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    return handlers
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request, query }) => forward(request, patienceOf(query.wait)))
      .handleRaw("cancel", ({ request }) => forward(request))
      .handleRaw("retry", ({ request }) => forward(request))
      .handleRaw("resolve", ({ request }) => forward(request))
  })
)

export const layer = Layer.mergeAll(models, versions, keys, sagas, webhooks, deadLetters, events)
