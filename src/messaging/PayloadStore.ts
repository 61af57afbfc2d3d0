/**
 * Where payloads are kept that are too large for a record: under the day they were put and the SHA-256 of their bytes, as
 * `2026-11-25/<64 hexadecimal digits>`. The day is what makes removal safe: a payload that is put is always of today, and
 * one that is removed never is, so that none is removed that somebody has just put again.
 */
import type { Effect, Stream } from "effect"
import { Context, DateTime, Schema } from "effect"

/** The only form in which a location is ever followed: it comes out of headers, which anybody may have written. */
export const PayloadLocation = Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}\/[0-9a-f]{64}$/)).pipe(
  Schema.brand("maas/messaging/PayloadLocation")
)
export type PayloadLocation = typeof PayloadLocation.Type

/** `digest` is the SHA-256 in lowercase hexadecimal digits. */
export const locationOf = (digest: string, at: DateTime.Utc): PayloadLocation =>
  PayloadLocation.make(`${DateTime.formatIsoDateUtc(at)}/${digest}`)

export const digestOf = (location: PayloadLocation): string => location.slice(-64)

export class PayloadStore extends Context.Service<PayloadStore, {
  /** Durable once it succeeds; what is there already is put again and its age begins anew. */
  readonly put: (location: PayloadLocation, bytes: Uint8Array) => Effect.Effect<void, PayloadStoreUnavailable>
  /** The first `limit` bytes; `undefined` when nothing is there. */
  readonly get: (
    location: PayloadLocation,
    limit: number
  ) => Effect.Effect<Uint8Array | undefined, PayloadStoreUnavailable>
  /** Lets the age begin anew; what is gone stays gone. */
  readonly renew: (location: PayloadLocation) => Effect.Effect<void, PayloadStoreUnavailable>
  /** What is not there is gone already. */
  readonly remove: (location: PayloadLocation) => Effect.Effect<void, PayloadStoreUnavailable>
  /** Everything that is older than the given age in milliseconds. */
  readonly olderThan: (ageMillis: number) => Stream.Stream<PayloadLocation, PayloadStoreUnavailable>
}>()("maas/messaging/PayloadStore") {}

/** It can't be reached or refused for a reason of its own; the same call may succeed later. */
export class PayloadStoreUnavailable extends Schema.TaggedError<PayloadStoreUnavailable>()("PayloadStoreUnavailable", {
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  override get message() {
    return `The store of large payloads is unavailable (${this.operation})`
  }
}
