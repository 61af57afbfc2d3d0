/** A `.dlq` with too few partitions, as somebody may have made by hand, and what docs/messaging.md says to do about it. */
import { assert, layer } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { SqlClient } from "effect/sql"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import * as Consumer from "../../../src/messaging/Consumer.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import * as PgMessaging from "./PgMessaging.ts"

const topic = "model-events"

const consume = (handled: Queue.Enqueue<string>) =>
  Consumer.run({
    group: "g",
    topics: [topic],
    from: "earliest",
    decode: ({ key }) => Effect.succeed(key),
    handle: (key: string) => Effect.asVoid(Queue.offer(handled, key)),
    retryDelays: []
  })

/** The statement of the page's Topics section. */
const documented = Effect.map(
  Effect.promise(() => readFile(join(import.meta.dirname, "../../../docs/messaging.md"), "utf8")),
  (page) => /```sql\n([^`]*event_log_partitions[^`]*)```/.exec(page)?.[1] ?? assert.fail("the page has no statement")
)

layer(PgMessaging.layer(), { excludeTestServices: true, timeout: "2 minutes" })("a .dlq with one partition", (it) => {
  it.effect("stops the consumer, which says what to do; done so, the next start handles what has waited", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const log = yield* EventLog
      const handled = yield* Queue.unbounded<string>()
      yield* log.ensureTopics([{ name: `${topic}.dlq`, partitions: 1 }, { name: topic, partitions: 8 }])
      const keys = Array.from({ length: 20 }, (_, n) => `key-${n}`)
      yield* log.publish(keys.map((key) => ({ topic, key, value: new Uint8Array(), headers: {} })))

      const stopped = yield* Effect.flip(consume(handled))
      assert.strictEqual(stopped._tag, "CompanionUneven")
      assert.strictEqual(
        stopped.message,
        `The topic ${topic}.dlq has 1 partitions and needs 8: give it as many, or delete it when nothing in it is needed, ` +
          `and start again (docs/messaging.md, Topics)`
      )
      assert.strictEqual(yield* Queue.size(handled), 0)

      yield* sql.unsafe(yield* documented)
      yield* Effect.forkScoped(Effect.provide(consume(handled), PgMessaging.adapters(), { local: true }))
      const done = yield* Effect.timeout(Queue.takeN(handled, keys.length), "60 seconds")
      assert.sameMembers([...done], keys)
    }))
})
