/** The registry's part of the API as a gateway answers it: from the registry, or with what it said last. */
import { Clock, Context, Effect, Layer } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpServerResponse } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { ModelsApi } from "../../api/ModelsApi.ts"
import type { Principal } from "../../domain/access/Principal.ts"
import * as Coalescer from "../../resilience/Coalescer.ts"
import * as Deadline from "../../resilience/Deadline.ts"
import { show } from "../../resilience/PulledMetrics.ts"
import * as Retry from "../../resilience/Retry.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { ExpressLane } from "../http/ExpressLane.ts"
import type { LaneAnswer } from "../http/ExpressLane.ts"
import { modelAt } from "../http/Paths.ts"
import { patienceOf } from "../http/Preconditions.ts"
import { needed, Settings } from "../settings/Settings.ts"
import type { WireAnswer } from "./Connections.ts"
import * as Forwarding from "./Forwarding.ts"
import type { Forward } from "./Forwarding.ts"
import { OtherAnswer } from "./Forwarding.ts"
import { callerHeader } from "./InternalHeaders.ts"
import { StaleAnswers } from "./StaleAnswers.ts"
import type { UpstreamError } from "./Upstream.ts"
import { RegistryUpstream } from "./Upstreams.ts"

const forwarder = Effect.gen(function*() {
  const { upstreamTimeout } = yield* Settings
  return Forwarding.forwarder(yield* RegistryUpstream, yield* needed("internalSecret"), upstreamTimeout)
})

/** What the registry said last to whatever was read. */
class LastReadings extends Context.Service<LastReadings, StaleAnswers>()(
  "maas/layers/internal/RegistryForwarding/LastReadings"
) {
  static readonly layer = Layer.effect(
    LastReadings,
    Effect.gen(function*() {
      const kept = new StaleAnswers(yield* Clock.Clock)
      yield* show(kept.readings("registry"))
      return kept
    })
  )
}

interface Reading {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** What the registry says to those who only read: while it is away, its last answer, labelled as such. */
const asker = Effect.gen(function*() {
  const { upstreamTimeout } = yield* Settings
  const upstream = yield* RegistryUpstream
  const kept = yield* LastReadings
  /** Those who ask together are given one answer. */
  const understood = new WeakMap<WireAnswer<string>, LaneAnswer>()

  const toAnswer = (path: string, wire: WireAnswer<string>): Effect.Effect<LaneAnswer, OtherAnswer> => {
    if (wire.status !== 200) {
      if (wire.status === 404) kept.forget(path)
      const old = wire.status >= 500 ? kept.respond(path) : undefined
      return Effect.fail(new OtherAnswer({ response: old ?? Forwarding.asItIs(wire) }))
    }
    const known = understood.get(wire)
    if (known !== undefined) return Effect.succeed(known)
    const answer = { text: wire.body, fields: Forwarding.textFields(wire.headers) }
    understood.set(wire, answer)
    kept.keep(path, wire.body, Forwarding.contentTypeOf(wire.headers))
    return Effect.succeed(answer)
  }

  const ask = ({ path, headers }: Reading) =>
    upstream.ask({ method: "GET", path, headers, body: null, patience: upstreamTimeout, call: Retry.safe })

  /** `asking` asks for the path; where it fails, the last answer. */
  const answered = (path: string, asking: Effect.Effect<WireAnswer<string>, UpstreamError>) =>
    Effect.matchEffect(asking, {
      onSuccess: (wire) => toAnswer(path, wire),
      onFailure: (failure) => Forwarding.noAnswer("registry", failure, kept.respond(path))
    })
  return { ask, answered }
})

const toResponse = ({ text, fields }: LaneAnswer) =>
  HttpServerResponse.text(text, { headers: fields, contentType: "application/json" })

const reader = Effect.gen(function*() {
  const fields = Forwarding.fieldsFor(yield* needed("internalSecret"))
  const { answered, ask } = yield* asker
  const read: Forward = Effect.fnUntraced(
    function*(request) {
      const headers = yield* Forwarding.traced(fields(request.headers, yield* Caller))
      return toResponse(yield* answered(request.url, ask({ path: request.url, headers })))
    },
    Effect.catchTag("OtherAnswer", ({ response }) => Effect.succeed(response))
  )
  return read
})

const isByHimself = Effect.flatMap(
  Deadline.remainingMillis,
  (left) => Effect.withFiber((fiber) => Effect.succeed(Number.isFinite(left) || fiber.cache.span?.sampled === true))
)

/** Requests to the registry at once for what callers read at the same moment. */
const readingsAtOnce = 64

/**
 * As `reader`, for one thing, on the express lane. What several callers with one key read at the same moment is asked for
 * once; only a good answer is theirs together, as any other tells of a request of its own. Who is traced, or has a deadline
 * of his own, asks by himself.
 */
const readerOnLane = Effect.gen(function*() {
  const lane = yield* ExpressLane
  const fields = Forwarding.fieldsFor(yield* needed("internalSecret"))
  const { answered, ask } = yield* asker
  const together = yield* Coalescer.make({
    key: ({ path, headers }: Reading) => `${path} ${headers[callerHeader]}`,
    most: 1,
    atOnce: readingsAtOnce,
    run: ([reading]) => Effect.map(ask(reading), (wire) => () => wire)
  })
  const read = (path: string, caller: Principal) =>
    Effect.flatMap(Forwarding.traced(fields({}, caller)), (headers) => {
      const reading = { path, headers }
      const alone = ask(reading)
      return answered(
        path,
        Effect.flatMap(isByHimself, (isByHimself) =>
          isByHimself
            ? alone
            : Effect.filterOrElse(together(reading), ({ status }) => status === 200, () => alone))
      )
    })
  return (endpoint: HttpApiEndpoint.Top, isPath: (path: string) => boolean) => {
    const handle = lane.open({
      endpoint,
      match: (given) => isPath(given) ? given : undefined,
      answer: (given, _, caller) => read(given, caller)
    })
    return (request: HttpServerRequest.HttpServerRequest) =>
      Effect.catchTag(handle(request, request.url), "OtherAnswer", ({ response }) => Effect.succeed(response))
  }
})

const models = HttpApiBuilder.group(
  MaasApi,
  "models",
  Effect.fnUntraced(function*(handlers) {
    const forward = yield* forwarder
    const read = yield* reader
    const readOne = yield* readerOnLane
    const get = readOne(ModelsApi.endpoints.get, (path) => modelAt(path) !== undefined)
    return handlers
      .handleRaw("create", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => read(request))
      .handleRaw("get", ({ request }) => get(request))
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

export const layer = Layer.mergeAll(models, versions, keys, sagas, webhooks, deadLetters, events).pipe(
  Layer.provide(LastReadings.layer)
)
