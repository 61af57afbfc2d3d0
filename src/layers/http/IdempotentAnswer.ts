import { Effect, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpServerResponse } from "effect/http"
import { hash } from "node:crypto"
import { Caller } from "../../api/Authorization.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import type { KeptAnswer } from "../../services/Idempotency.ts"
import { Idempotency } from "../../services/Idempotency.ts"

/** Tells requests apart: what was asked, in a fixed order of words. */
export const fingerprint = (...parts: ReadonlyArray<string>): string => hash("sha256", JSON.stringify(parts), "hex")

/** A JSON answer that can be kept. */
export const jsonAnswer = (
  status: number,
  text: string,
  headers: Readonly<Record<string, string>> = {}
): KeptAnswer => ({
  status,
  headers: { ...headers, "content-type": "application/json" },
  body: Buffer.from(text)
})

/** As `jsonAnswer`, for a value in the form of `schema`. */
export const answerOf = <A, Encoded>(schema: Schema.Codec<A, Encoded>, status: number) => {
  const encode = Schema.encodeEffect(schema)
  return (value: A, headers: Readonly<Record<string, string>> = {}) =>
    Effect.map(Effect.orDie(encode(value)), (encoded) => jsonAnswer(status, JSON.stringify(encoded), headers))
}

export const respond = ({ status, headers, body }: KeptAnswer) =>
  HttpServerResponse.uint8Array(body, { status, headers, contentType: headers["content-type"] })

/** Runs the request once per key; without a key, every time. `print` tells it from other requests. */
export const makeIdempotent = Effect.map(Idempotency, (idempotency) =>
  Effect.fnUntraced(function*<E, R>(
    key: IdempotencyKey | undefined,
    print: () => string,
    request: Effect.Effect<KeptAnswer, E, R>
  ) {
    if (key === undefined) return respond(yield* request)
    const { keyId } = yield* Caller
    return respond(yield* idempotency.run({ caller: keyId, key, fingerprint: print() }, request))
  }))

/** As `makeIdempotent`, for a request that goes on by itself once begun: it is told the id of its operation. */
export const makeTracked = Effect.gen(function*() {
  const idempotency = yield* Idempotency
  const random = yield* SecureRandom.SecureRandom
  return Effect.fnUntraced(function*<E, R>(
    key: IdempotencyKey | undefined,
    print: () => string,
    request: (operation: string) => Effect.Effect<KeptAnswer, E, R>,
    isUnderWay: (error: E) => boolean
  ) {
    if (key === undefined) return respond(yield* request(yield* random.uuidV7()))
    const { keyId } = yield* Caller
    return respond(yield* idempotency.track({ caller: keyId, key, fingerprint: print() }, request, isUnderWay))
  })
})
