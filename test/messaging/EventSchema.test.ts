import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { LogRecord } from "../../src/messaging/EventLog.ts"
import * as EventSchema from "../../src/messaging/EventSchema.ts"

const envelope = { type: Schema.String, version: Schema.Int }
const One = Schema.Struct({ ...envelope, name: Schema.String })
const Two = Schema.Struct({ ...envelope, names: Schema.Array(Schema.String) })
const Three = Schema.Struct({ ...envelope, names: Schema.Array(Schema.String), count: Schema.Int })

const named = EventSchema.next(
  EventSchema.next(EventSchema.first(One), Two, ({ name, ...event }) => ({ ...event, names: [name] })),
  Three,
  (event) => ({ ...event, count: event.names.length })
)

const recordOf = (value: Uint8Array): LogRecord => ({
  topic: "t",
  partition: 0,
  offset: 0,
  key: "k",
  headers: {},
  publishedAt: 0,
  value
})
const encode = (value: unknown) => recordOf(new TextEncoder().encode(JSON.stringify(value)))

const decode = EventSchema.decoder({ named }, { unknownTypes: "skip" })

describe("EventSchema", () => {
  it.effect("every version is read as the newest", () =>
    Effect.gen(function*() {
      const one = yield* decode(encode({ type: "named", version: 1, name: "ann" }))
      assert.deepStrictEqual(one, { type: "named", version: 1, names: ["ann"], count: 1 })
      const two = yield* decode(encode({ type: "named", version: 2, names: ["ann", "ben"] }))
      assert.deepStrictEqual([two.names, two.count], [["ann", "ben"], 2])
      const three = yield* decode(encode({ type: "named", version: 3, names: [], count: 7 }))
      assert.strictEqual(three.count, 7)
    }))

  it.effect("law 56: what is not understood is refused, and says why", () =>
    Effect.gen(function*() {
      const cases = [
        [encode({ type: "named", version: 4, names: [], count: 1 }), "unknown_version"],
        [encode({ type: "named", version: 1 }), "undecodable"],
        [encode({ type: "named" }), "undecodable"],
        [recordOf(new TextEncoder().encode("{")), "undecodable"],
        [recordOf(new Uint8Array([0xff, 0xfe])), "undecodable"]
      ] as const
      for (const [record, code] of cases) {
        const error = yield* Effect.flip(decode(record))
        assert.deepStrictEqual([error._tag, error.code], ["MessageRefused", code])
      }
    }))

  it.effect("a type that the consumer does not know is skipped or refused, as it chooses", () =>
    Effect.gen(function*() {
      const unknown = encode({ type: "other", version: 1 })
      assert.strictEqual((yield* Effect.flip(decode(unknown)))._tag, "MessageSkipped")
      const strict = EventSchema.decoder({ named }, { unknownTypes: "refuse" })
      assert.strictEqual((yield* Effect.flip(strict(unknown)))._tag, "MessageRefused")
    }))
})
