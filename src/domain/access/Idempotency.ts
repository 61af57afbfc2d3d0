import { Schema } from "effect"

/** What a caller makes up to mark one wish, so that repeating it has one effect (draft-ietf-httpapi-idempotency-key-header). */
export const IdempotencyKey = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{1,255}$/, { expected: "1 to 255 visible ASCII characters" })
).pipe(Schema.brand("IdempotencyKey"))
export type IdempotencyKey = typeof IdempotencyKey.Type

/** The key was used before, for another request. */
export class IdempotencyKeyReused extends Schema.TaggedError<IdempotencyKeyReused>()("IdempotencyKeyReused", {}) {
  override get message() {
    return "This Idempotency-Key was used for another request: use a new key for a new request"
  }
}

/** The first request with this key has no answer yet. */
export class IdempotencyKeyInUse extends Schema.TaggedError<IdempotencyKeyInUse>()("IdempotencyKeyInUse", {
  retryAfterSeconds: Schema.Int
}) {
  override get message() {
    return `A request with this Idempotency-Key is still under way: try again in ${this.retryAfterSeconds} s`
  }
}
