import { Effect, Schedule, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { SagaDetails, SagaPosition } from "../../api/SagasApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { NoSuchSaga, SagaActionRefused } from "../../domain/sagas/SagaErrors.ts"
import type { SagaNotActionable, SagaNotFound } from "../../saga/SagaError.ts"
import { Sagas } from "../../saga/Sagas.ts"
import { isActive } from "../../saga/SagaStatus.ts"
import { answerOf, fingerprint, makeTracked } from "./IdempotentAnswer.ts"
import { makePage } from "./Pages.ts"
import { patienceOf } from "./Preconditions.ts"
import { detailsOf, viewOf } from "./SagaTimeline.ts"

const page = makePage(Schema.encodeEffect(cursorOf(SagaPosition)))
const answer = answerOf(SagaDetails, 200)

/** How often to look at a saga that an operator waits for. */
const look = Schedule.spaced("200 millis")

const away = () =>
  Effect.fail(new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds }))
const found = {
  SagaNotFound: ({ sagaId }: SagaNotFound) => Effect.fail(new NoSuchSaga({ id: sagaId })),
  JournalUnavailable: away
}
const acted = {
  ...found,
  SagaNotActionable: ({ action, sagaId, why }: SagaNotActionable) =>
    Effect.fail(new SagaActionRefused({ id: sagaId, action, why }))
}

export const layer = HttpApiBuilder.group(
  MaasApi,
  "sagas",
  Effect.fnUntraced(function*(handlers) {
    const tracked = yield* makeTracked
    const sagas = yield* Sagas

    const find = (id: string) => Effect.catchTags(sagas.find(id), found)

    /** Whatever it does, it is not part of a transaction: a saga that goes on is written by whoever runs it. */
    const act = <E>(
      request: {
        readonly params: { readonly saga: string }
        readonly headers: { readonly "idempotency-key"?: IdempotencyKey }
      },
      print: ReadonlyArray<string>,
      change: (id: string, by: string) => Effect.Effect<void, E>
    ) =>
      Effect.flatMap(Caller, ({ name }) =>
        tracked(
          request.headers["idempotency-key"],
          () => fingerprint("saga", request.params.saga, ...print),
          () =>
            change(request.params.saga, name).pipe(
              Effect.andThen(find(request.params.saga)),
              Effect.flatMap((saga) => answer(detailsOf(saga)))
            ),
          () => false
        ))

    return handlers.handleAll({
      list: ({ query }) =>
        page(
          query,
          ({ before, limit }) =>
            sagas.list({ state: query.state, after: before, limit }).pipe(
              Effect.flatMap(Effect.forEach(
                // One that has just been forgotten is left out.
                ({ id }) => Effect.catchTag(Effect.asSome(sagas.find(id)), "SagaNotFound", () => Effect.succeedNone),
                { concurrency: 4 }
              )),
              Effect.map((found) => found.flatMap((saga) => saga._tag === "Some" ? [saga.value] : [])),
              Effect.catchTag("JournalUnavailable", away)
            ),
          ({ id, startedAt }) => ({ id, startedAt })
        ).pipe(Effect.map(({ items, nextCursor }) => ({ items: items.map(viewOf), nextCursor }))),
      get: Effect.fnUntraced(function*({ params, query }) {
        const isSettled = Effect.repeat(find(params.saga), {
          until: ({ status }) => !isActive(status.state),
          schedule: look
        })
        yield* Effect.timeoutOption(isSettled, patienceOf(query.wait))
        return detailsOf(yield* find(params.saga))
      }),
      cancel: (request) => act(request, ["cancel"], (id) => Effect.catchTags(sagas.cancel(id), acted)),
      retry: (request) => act(request, ["retry"], (id, by) => Effect.catchTags(sagas.retry(id, { by }), acted)),
      resolve: (request) => {
        const { output } = request.payload
        return act(
          request,
          ["resolve", JSON.stringify(output) ?? ""],
          (id, by) => Effect.catchTags(sagas.resolve(id, { by, output }), acted)
        )
      }
    })
  })
)
