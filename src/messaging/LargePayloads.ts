/**
 * Payloads by reference (the "claim check" of Hohpe and Woolf, Enterprise Integration Patterns): what is too large for a
 * record is put into a `PayloadStore` before its message is written to the outbox, and the record carries where it is and
 * how large. So neither the outbox nor the log, nor the retry topics and the dead letters, ever hold the bytes.
 *
 * A transaction that is rolled back leaves a payload that nobody refers to: `PayloadSweep` removes it with what is old.
 */
import { DateTime, Effect, Layer, Metric, Option, Schema } from "effect"
import { Digest, sha256 } from "effect/crypto/Digest"
import * as Digests from "effect/crypto/Digest"
import type { LogRecord } from "./EventLog.ts"
import { RecordTooLarge } from "./EventLog.ts"
import { HandlingFailed, MessageRefused } from "./Handling.ts"
import type { OutboxMessage } from "./Outbox.ts"
import { Outbox, OutboxUnavailable } from "./Outbox.ts"
import { digestOf, locationOf, PayloadLocation, PayloadStore } from "./PayloadStore.ts"
import * as RecordHeaders from "./RecordHeaders.ts"

const payloads = Metric.counter("messaging_large_payloads_total", {
  description: "Payloads that travel by reference, by what was done with them",
  incremental: true
})
export const countPayload = (act: "stored" | "fetched" | "removed") =>
  Metric.update(Metric.withAttributes(payloads, { act }), 1)

/** A payload is held whole where it is written and read: one for each handler at once. */
const usualMaxBytes = 16 * 1024 * 1024

export interface LargePayloadsOptions {
  /** Payloads of more bytes than this go by reference; less than what the log takes for a record. */
  readonly inlineBytes: number
  /** Messages with larger payloads are refused as `RecordTooLarge`. Default 16 MiB. */
  readonly maxBytes?: number | undefined
}

const encoder = new TextEncoder()

/** The bytes of a payload that is too large to go along; text is at most three bytes a UTF-16 unit. */
const largeBytes = (payload: string | Uint8Array, inlineBytes: number): Uint8Array | undefined => {
  if (typeof payload === "string" && payload.length * 3 <= inlineBytes) return undefined
  const bytes = typeof payload === "string" ? encoder.encode(payload) : payload
  return bytes.byteLength > inlineBytes ? bytes : undefined
}

/** The outbox below it, for messages with payloads of any size up to `maxBytes`. */
export const outbox = (
  { inlineBytes, maxBytes = usualMaxBytes }: LargePayloadsOptions
): Layer.Layer<Outbox, never, Outbox | PayloadStore> =>
  Layer.effect(
    Outbox,
    Effect.gen(function*() {
      const below = yield* Outbox
      const store = yield* PayloadStore
      const { digestHex } = yield* Digest

      const put = Effect.fn("store_payload")(function*(message: OutboxMessage, bytes: Uint8Array) {
        const { headers, key, topic } = message
        const size = bytes.byteLength
        if (size > maxBytes) return yield* new RecordTooLarge({ topic, key, size, limit: maxBytes })
        const location = locationOf(yield* digestHex(sha256, bytes), yield* DateTime.now)
        yield* store.put(location, bytes).pipe(
          Effect.mapError((cause) => new OutboxUnavailable({ operation: "store a large payload", cause }))
        )
        yield* countPayload("stored")
        const reference = { [RecordHeaders.payload.location]: location, [RecordHeaders.payload.size]: String(size) }
        return { ...message, payload: new Uint8Array(), headers: { ...headers, ...reference } }
      })

      return Outbox.of({
        append: (messages) =>
          Effect.flatMap(
            Effect.forEach(messages, (message) => {
              const bytes = largeBytes(message.payload, inlineBytes)
              return bytes === undefined ? Effect.succeed(message) : put(message, bytes)
            }),
            below.append
          )
      })
    })
  ).pipe(Layer.provide(Digests.layerWebCrypto))

const decodeReference = Schema.decodeUnknownEffect(Schema.Struct({
  [RecordHeaders.payload.location]: PayloadLocation,
  [RecordHeaders.payload.size]: Schema.FiniteFromString.check(
    Schema.isInt(),
    Schema.isBetween({ minimum: 0, maximum: 2 ** 31 })
  )
}))

const refused = (code: string, message: string) => new MessageRefused({ code, message })

/** The record with the bytes that it refers to. */
const resolve = Effect.fnUntraced(function*(record: LogRecord, maxBytes: number) {
  const headers = yield* decodeReference(record.headers).pipe(
    Effect.mapError(({ message }) => refused("payload_reference_invalid", message))
  )
  const location = headers[RecordHeaders.payload.location]
  const size = headers[RecordHeaders.payload.size]
  if (size > maxBytes) {
    return yield* refused(
      "payload_too_large",
      `The payload ${location} is of ${size} bytes; at most ${maxBytes} are read`
    )
  }
  const store = yield* PayloadStore
  // One byte more than there should be, so that a longer one is seen
  const bytes = yield* store.get(location, size + 1).pipe(
    Effect.mapError((cause) => new HandlingFailed({ code: "payload_store_unavailable", message: cause.message, cause }))
  )
  if (bytes === undefined) {
    return yield* refused("payload_missing", `The store of large payloads has no ${location}: restore it, then replay`)
  }
  const digest = yield* Digest.use(({ digestHex }) => digestHex(sha256, bytes)).pipe(
    Effect.provide(Digests.layerWebCrypto)
  )
  if (bytes.byteLength !== size || digest !== digestOf(location)) {
    return yield* refused(
      "payload_corrupt",
      `The bytes at ${location} are not those that were stored: ${size} were, with the digest that it is named by`
    )
  }
  yield* countPayload("fetched")
  return { ...record, value: bytes }
})

/**
 * Reads records whose payloads may be by reference. A store that is away is a failure that passes; a payload that is
 * missing, or is not what was put, makes the message a dead letter at once (`payload_missing`, `payload_corrupt`), from
 * where it is replayed when the store was repaired.
 */
export const resolved = <A, E, R>(
  decode: (record: LogRecord) => Effect.Effect<A, E, R>,
  { maxBytes = usualMaxBytes }: Pick<LargePayloadsOptions, "maxBytes"> = {}
) =>
(record: LogRecord): Effect.Effect<A, E | MessageRefused | HandlingFailed, R | PayloadStore> =>
  Option.match(Option.fromUndefinedOr(record.headers[RecordHeaders.payload.location]), {
    onNone: () => decode(record),
    onSome: () => Effect.flatMap(resolve(record, maxBytes), decode)
  })
