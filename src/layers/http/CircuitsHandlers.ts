import { DateTime, Duration, Effect, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { CircuitId, CircuitView } from "../../api/CircuitsApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import type { StateName } from "../../resilience/circuit/CircuitState.ts"
import type { CircuitSnapshot } from "../../resilience/CircuitBreaker.ts"
import type { CircuitStoreLost } from "../../resilience/CircuitStore.ts"
import type { CircuitAddress, CircuitNotFound as UnknownCircuit } from "../../resilience/PolicyDirectory.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import { answerOf, fingerprint, makeIdempotent } from "./IdempotentAnswer.ts"
import { OtherCircuits } from "./OtherCircuits.ts"
import { makePage } from "./Pages.ts"

const states: Readonly<Record<StateName, typeof CircuitView.Type["state"]>> = {
  Closed: "closed",
  Open: "open",
  HalfOpen: "half_open",
  ForcedOpen: "forced_open",
  ForcedClosed: "forced_closed",
  Disabled: "disabled",
  MetricsOnly: "metrics_only"
}

const idOf = ({ breaker, key }: CircuitAddress): string => key === undefined ? breaker : `${breaker}:${key}`

/** Breakers' names hold no colon, keys may. */
const addressOf = (id: string): CircuitAddress => {
  const colon = id.indexOf(":")
  return colon < 0 ? { breaker: id } : { breaker: id.slice(0, colon), key: id.slice(colon + 1) }
}

const viewOf = (snapshot: CircuitSnapshot): Effect.Effect<typeof CircuitView.Type> =>
  Effect.map(DateTime.now, (now) => ({
    id: idOf(snapshot),
    breaker: snapshot.breaker,
    key: snapshot.key ?? null,
    state: states[snapshot.state],
    since: DateTime.subtractDuration(now, snapshot.sinceFor),
    retryAfterSeconds: snapshot.retryAfter === undefined ? null : Math.ceil(Duration.toSeconds(snapshot.retryAfter)),
    calls: { total: snapshot.calls.calls, failed: snapshot.calls.failures, slow: snapshot.calls.slow }
  }))

const page = makePage(Schema.encodeEffect(cursorOf(CircuitId)))
const answer = answerOf(CircuitView, 200)

export const layer = HttpApiBuilder.group(
  MaasApi,
  "circuits",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const directory = yield* PolicyDirectory

    const others = yield* OtherCircuits

    const act = (
      action: "open" | "close" | "reset",
      { params: { circuit }, headers: { "idempotency-key": key } }: {
        readonly params: { readonly circuit: string }
        readonly headers: { readonly "idempotency-key"?: IdempotencyKey }
      },
      change: (address: CircuitAddress) => Effect.Effect<CircuitSnapshot, UnknownCircuit | CircuitStoreLost>
    ) =>
      idempotent(
        key,
        () => fingerprint(`${action}-circuit`, circuit),
        change(addressOf(circuit)).pipe(
          Effect.flatMap(viewOf),
          Effect.catchTags({
            CircuitNotFound: () => others.act(action, circuit, key),
            CircuitStoreLost: () => new DependencyUnavailable({ dependency: "redis", retryAfterSeconds: 1 })
          }),
          Effect.flatMap((view) => answer(view))
        )
      )

    return handlers.handleAll({
      list: ({ query }) =>
        page(
          query,
          Effect.fnUntraced(function*({ before, limit }) {
            const own = yield* Effect.forEach(yield* directory.circuits, viewOf)
            return [...own, ...(yield* others.list({ before, limit }))]
              .filter(({ id }) => before === undefined || id > before)
              .toSorted((one, other) => one.id < other.id ? -1 : 1)
              .slice(0, limit)
          }),
          ({ id }) => id
        ),
      get: ({ params: { circuit } }) =>
        directory.circuit(addressOf(circuit)).pipe(
          Effect.flatMap(viewOf),
          Effect.catchTag("CircuitNotFound", () => others.get(circuit))
        ),
      open: (request) => act("open", request, (address) => directory.force(address, "ForcedOpen")),
      close: (request) => act("close", request, (address) => directory.force(address, "ForcedClosed")),
      reset: (request) => act("reset", request, directory.reset)
    })
  })
)
