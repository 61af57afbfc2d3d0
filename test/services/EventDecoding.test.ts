/** What the consumers of tasks and of webhooks make of what they did not expect. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { LogRecord } from "../../src/messaging/EventLog.ts"
import * as PayloadStoreMemory from "../../src/messaging/PayloadStoreMemory.ts"
import { decodeTaskEvent } from "../../src/services/TaskEvents.ts"
import { decodeDeliveryEvent } from "../../src/services/WebhookDeliveries.ts"

const uuid = "01a20827-ef83-75cd-a1e2-13684612098e"
const toJson = Schema.encodeSync(Schema.fromJsonString(Schema.Unknown))

const recordOf = (value: string | Uint8Array): LogRecord => ({
  topic: "t",
  key: uuid,
  headers: {},
  value: typeof value === "string" ? new TextEncoder().encode(value) : value,
  partition: 0,
  offset: 0,
  publishedAt: 0
})

const envelope = { id: uuid, version: 1, occurredAt: "2026-11-25T12:00:00.000Z" }
const task = {
  ...envelope,
  type: "task.queued",
  modelId: uuid,
  data: { task: uuid, key: uuid, model: "iris", modelVersion: 1, attempt: 0 }
}
const delivery = { ...envelope, type: "webhook.delivery", data: { delivery: uuid, round: 1 } }

/** The decoder of some events, and one of them. */
const eventsOf = <A, E extends { readonly _tag: string; readonly code: string }, R>(
  name: string,
  decode: (record: LogRecord) => Effect.Effect<A, E, R>,
  event: { readonly type: string; readonly data: unknown },
  told: (decoded: A) => unknown
) => {
  const outcome = (value: string | Uint8Array) =>
    Effect.map(Effect.flip(Effect.asVoid(decode(recordOf(value)))), ({ _tag, code }) => `${_tag} ${code}`)
  return {
    name,
    read: Effect.map(decode(recordOf(toJson(event))), (decoded) => assert.deepStrictEqual(told(decoded), event.data)),
    refusals: Effect.gen(function*() {
      assert.strictEqual(yield* outcome("{"), "MessageRefused undecodable")
      assert.strictEqual(yield* outcome(Uint8Array.of(0xff)), "MessageRefused undecodable")
      assert.strictEqual(yield* outcome(toJson({ ...event, data: {} })), "MessageRefused undecodable")
      assert.strictEqual(yield* outcome(toJson({ ...event, version: "1" })), "MessageRefused undecodable")
      assert.strictEqual(yield* outcome(toJson({ ...event, version: 2 })), "MessageRefused unknown_version")
      assert.strictEqual(yield* outcome(toJson({ ...event, type: "other" })), "MessageSkipped unknown_type")
    })
  }
}

const cases = [
  eventsOf("tasks", decodeTaskEvent, task, ({ data }) => data),
  eventsOf("deliveries", decodeDeliveryEvent, delivery, ({ data }) => data)
]

for (const { name, read, refusals } of cases) {
  describe(`events of ${name}`, () => {
    it.effect("are read as they are written", () => read.pipe(Effect.provide(PayloadStoreMemory.layer)))

    it.effect(
      "law 56: are refused at once when no attempt can succeed, and skipped when they mean nothing",
      () => refusals.pipe(Effect.provide(PayloadStoreMemory.layer))
    )
  })
}
