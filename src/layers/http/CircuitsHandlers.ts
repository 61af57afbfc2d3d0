import { DateTime, Duration, Effect, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { CircuitId, CircuitView } from "../../api/CircuitsApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { CircuitNotFound } from "../../domain/protection/ProtectionErrors.ts"
import type { StateName } from "../../resilience/circuit/CircuitState.ts"
import type { CircuitSnapshot } from "../../resilience/CircuitBreaker.ts"
import type { CircuitStoreLost } from "../../resilience/CircuitStore.ts"
import type { CircuitAddress, CircuitNotFound as UnknownCircuit } from "../../resilience/PolicyDirectory.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import { answerOf, fingerprint, makeIdempotent } from "./IdempotentAnswer.ts"
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

    const found = (id: string, looked: Effect.Effect<CircuitSnapshot, UnknownCircuit>) =>
      looked.pipe(
        Effect.mapError(() => new CircuitNotFound({ id })),
        Effect.flatMap(viewOf)
      )

    const act = (
      name: string,
      { params: { circuit }, headers }: {
        readonly params: { readonly circuit: string }
        readonly headers: { readonly "idempotency-key"?: IdempotencyKey }
      },
      change: (address: CircuitAddress) => Effect.Effect<CircuitSnapshot, UnknownCircuit | CircuitStoreLost>
    ) =>
      idempotent(
        headers["idempotency-key"],
        () => fingerprint(`${name}-circuit`, circuit),
        change(addressOf(circuit)).pipe(
          Effect.mapError((error) =>
            error._tag === "CircuitNotFound"
              ? new CircuitNotFound({ id: circuit })
              : new DependencyUnavailable({ dependency: "redis", retryAfterSeconds: 1 })
          ),
          Effect.flatMap(viewOf),
          Effect.flatMap((view) => answer(view))
        )
      )

    return handlers.handleAll({
      list: ({ query }) =>
        page(
          query,
          ({ before, limit }) =>
            Effect.flatMap(directory.circuits, (circuits) =>
              Effect.forEach(
                circuits.filter((circuit) => before === undefined || idOf(circuit) > before)
                  .toSorted((one, other) => idOf(one) < idOf(other) ? -1 : 1)
                  .slice(0, limit),
                viewOf
              )),
          ({ id }) => id
        ),
      get: ({ params: { circuit } }) => found(circuit, directory.circuit(addressOf(circuit))),
      open: (request) => act("open", request, (address) => directory.force(address, "ForcedOpen")),
      close: (request) => act("close", request, (address) => directory.force(address, "ForcedClosed")),
      reset: (request) => act("reset", request, directory.reset)
    })
  })
)
