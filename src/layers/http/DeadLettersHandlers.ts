import { Effect, Schema } from "effect"
import { Base64 } from "effect/encoding"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { DeadLetterDetailsView, DeadLetterId, DeadLetterView, Replayed } from "../../api/DeadLettersApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { DeadLetterConflict, DeadLetterNotFound } from "../../domain/events/EventErrors.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { DeadLetters } from "../../messaging/DeadLetters.ts"
import type { DeadLetter, DeadLetterDetails, DeadLettersUnavailable } from "../../messaging/DeadLetters.ts"
import { answerOf, fingerprint, makeIdempotent } from "./IdempotentAnswer.ts"
import { makePage } from "./Pages.ts"

const viewOf = ({ eventId, ...letter }: DeadLetter): typeof DeadLetterView.Type => ({
  ...letter,
  eventId: eventId ?? null
})

const textOf = (value: Uint8Array): typeof DeadLetterDetailsView.Type["value"] => {
  const bytes = Buffer.from(value)
  const text = bytes.toString("utf8")
  return Buffer.from(text, "utf8").equals(bytes)
    ? { encoding: "utf-8", text }
    : { encoding: "base64", text: Base64.encode(value) }
}

const detailsOf = ({ acts, headers, letter, value }: DeadLetterDetails): typeof DeadLetterDetailsView.Type => ({
  ...viewOf(letter),
  headers,
  value: textOf(value),
  acts: acts.map(({ act, at, by, reason }) => ({ act, at, by, reason: reason ?? null }))
})

const away = (error: DeadLettersUnavailable) =>
  Effect.andThen(
    Effect.logWarning(error.message, error),
    new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })
  )

const page = makePage(Schema.encodeEffect(cursorOf(DeadLetterId)))
const answer = answerOf(DeadLetterView, 200)
const replayed = answerOf(Replayed, 200)

const conflict = ({ message }: { readonly message: string }) => new DeadLetterConflict({ problem: message })

export const layer = HttpApiBuilder.group(
  MaasApi,
  "deadLetters",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const book = yield* DeadLetters

    return handlers.handleAll({
      list: ({ query: { cursor, limit, ...filter } }) =>
        page(
          { ...cursor === undefined ? {} : { cursor }, ...limit === undefined ? {} : { limit } },
          (position) => Effect.map(book.list(filter, position), (letters) => letters.map(viewOf)),
          ({ id }) => id
        ).pipe(Effect.catchTag("DeadLettersUnavailable", away)),
      get: ({ params: { id } }) =>
        Effect.map(book.find(id), detailsOf).pipe(Effect.catchTags({
          DeadLetterUnknown: () => new DeadLetterNotFound({ id }),
          DeadLettersUnavailable: away
        })),
      replay: ({ headers, params: { id } }) =>
        Effect.flatMap(Caller, ({ name }) =>
          idempotent(
            headers["idempotency-key"],
            () => fingerprint("replay-dead-letter", id),
            book.replay(id, name).pipe(
              Effect.flatMap((letter) => answer(viewOf(letter))),
              Effect.catchTags({
                DeadLetterUnknown: () => new DeadLetterNotFound({ id }),
                DeadLetterSettled: conflict,
                DeadLetterLost: conflict,
                DeadLettersUnavailable: away
              })
            )
          )),
      replayAll: ({ headers, payload }) =>
        Effect.flatMap(Caller, ({ name }) =>
          idempotent(
            headers["idempotency-key"],
            () => fingerprint("replay-dead-letters", JSON.stringify(payload)),
            book.replayAll(payload, name).pipe(
              Effect.flatMap((count) => replayed({ replayed: count })),
              Effect.catchTag("DeadLettersUnavailable", away)
            )
          )),
      discard: ({ headers, params: { id }, payload: { reason } }) =>
        Effect.flatMap(Caller, ({ name }) =>
          idempotent(
            headers["idempotency-key"],
            () => fingerprint("discard-dead-letter", id, reason),
            book.discard(id, name, reason).pipe(
              Effect.flatMap((letter) => answer(viewOf(letter))),
              Effect.catchTags({
                DeadLetterUnknown: () => new DeadLetterNotFound({ id }),
                DeadLetterSettled: conflict,
                DeadLettersUnavailable: away
              })
            )
          ))
    })
  })
)
