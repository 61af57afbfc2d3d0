/** The runtime's circuits, those of its models, as a gateway shows them beside its own. */
import { Duration, Effect, Layer, Schema } from "effect"
import { Caller } from "../../api/Authorization.ts"
import { CircuitId, CircuitsApi, CircuitView } from "../../api/CircuitsApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { cursorOf, pageOf } from "../../domain/paging/Cursor.ts"
import { CircuitNotFound } from "../../domain/protection/ProtectionErrors.ts"
import { OtherCircuits } from "../http/OtherCircuits.ts"
import { needed } from "../settings/Settings.ts"
import * as Forwarding from "./Forwarding.ts"
import { repeatabilityOf } from "./Upstream.ts"
import { RuntimeUpstream } from "./Upstreams.ts"

const patience = Duration.seconds(3)
const path = CircuitsApi.endpoints.list.path
const mostOfPage = 100

const decodePage = Schema.decodeEffect(Schema.fromJsonString(pageOf(CircuitView)))
const decodeView = Schema.decodeEffect(Schema.fromJsonString(CircuitView))
const encodeCursor = Schema.encodeEffect(cursorOf(CircuitId))

const notUsable = (error: unknown) =>
  Effect.andThen(
    Effect.logError("The runtime told of its circuits what cannot be used", error),
    new DependencyUnavailable({ dependency: "runtime", retryAfterSeconds: usualOutageSeconds })
  )

export const layer = Layer.effect(
  OtherCircuits,
  Effect.gen(function*() {
    const upstream = yield* RuntimeUpstream
    const fields = Forwarding.fieldsFor(yield* needed("internalSecret"))

    const ask = Effect.fnUntraced(
      function*(method: "GET" | "POST", path: string, key?: IdempotencyKey) {
        const headers = key === undefined ? {} : { "idempotency-key": key }
        return yield* upstream.ask({
          method,
          path,
          headers: yield* Forwarding.traced(fields(headers, yield* Caller)),
          body: null,
          patience,
          call: repeatabilityOf(method, key)
        })
      },
      Effect.mapError((failure) => Forwarding.unavailable("runtime", failure))
    )

    const one = Effect.fnUntraced(function*(id: string, method: "GET" | "POST", action = "", key?: IdempotencyKey) {
      const { body, status } = yield* ask(method, `${path}/${encodeURIComponent(id)}${action}`, key)
      if (status === 404) return yield* new CircuitNotFound({ id })
      return status === 200 ? yield* Effect.catch(decodeView(body), notUsable) : yield* notUsable(`status ${status}`)
    })

    const list = Effect.fnUntraced(function*(before: string | undefined, limit: number) {
      const views: Array<typeof CircuitView.Type> = []
      let after = before
      while (views.length < limit) {
        const cursor = after === undefined ? "" : `&cursor=${yield* Effect.orDie(encodeCursor({ before: after }))}`
        const size = Math.min(mostOfPage, limit - views.length)
        const { body, status } = yield* ask("GET", `${path}?limit=${size}${cursor}`)
        const page = status === 200
          ? yield* Effect.catch(decodePage(body), notUsable)
          : yield* notUsable(`status ${status}`)
        views.push(...page.items)
        after = page.items.at(-1)?.id
        if (page.nextCursor === null || after === undefined) break
      }
      return views
    })

    return OtherCircuits.of({
      // That the runtime is away is what the gateway's own circuits tell
      list: ({ before, limit }) =>
        Effect.catchTag(list(before, limit), "DependencyUnavailable", () => Effect.succeed([])),
      get: (id) => one(id, "GET"),
      act: (action, id, key) => one(id, "POST", `/${action}`, key)
    })
  })
)
