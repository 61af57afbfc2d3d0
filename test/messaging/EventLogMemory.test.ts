import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { EventLog } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 }))
const Capacity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 20 }))

describe("EventLogMemory", () => {
  it.effect.prop(
    "keeps the newest records up to its capacity",
    [Count, Capacity],
    ([count, maxRecordsPerPartition]) =>
      Effect.gen(function*() {
        const log = yield* EventLog
        yield* log.ensureTopics([{ name: "t", partitions: 1 }])
        yield* log.publish(
          Array.from({ length: count }, () => ({ topic: "t", key: "k", value: new Uint8Array(), headers: {} }))
        )
        assert.deepStrictEqual(yield* log.ranges("t"), [
          { partition: 0, start: Math.max(0, count - maxRecordsPerPartition), end: count }
        ])
      }).pipe(Effect.provide(EventLogMemory.layer({ maxRecordsPerPartition }), { local: true }))
  )
})
