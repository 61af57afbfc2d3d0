/** Which large payloads stay and which go, by what the database refers to, with files whose age is set. */
import { assert, layer } from "@effect/vitest"
import { Clock, Context, Duration, Effect, FileSystem, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as DeadLettersPg from "../../../src/layers/postgres/messaging/DeadLettersPg.ts"
import * as PayloadReferencesPg from "../../../src/layers/postgres/messaging/PayloadReferencesPg.ts"
import * as PayloadStoreFolder from "../../../src/layers/storage/PayloadStoreFolder.ts"
import { deadLetterOf } from "../../../src/messaging/DeadLetter.ts"
import { DeadLetters } from "../../../src/messaging/DeadLetters.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import * as LargePayloads from "../../../src/messaging/LargePayloads.ts"
import { Outbox } from "../../../src/messaging/Outbox.ts"
import * as OutboxRelay from "../../../src/messaging/OutboxRelay.ts"
import { OutboxStore } from "../../../src/messaging/OutboxStore.ts"
import { sweep } from "../../../src/messaging/PayloadSweep.ts"
import { services, temporaryFolder } from "../../layers/storage/support.ts"
import { eventually } from "./EventLogFixtures.ts"
import * as PgMessaging from "./PgMessaging.ts"

class Folder extends Context.Service<Folder, string>()("maas/test/contract/messaging/PayloadSweepPg.test/Folder") {}

const folder = Layer.effect(Folder, temporaryFolder)
const store = Layer.unwrap(Effect.map(Folder, (directory) => PayloadStoreFolder.layer({ directory })))

const fresh = () =>
  DeadLettersPg.layer().pipe(
    Layer.provideMerge(LargePayloads.outbox({ inlineBytes: 100 })),
    Layer.provideMerge(Layer.merge(PayloadReferencesPg.layer, store)),
    Layer.provideMerge(PgMessaging.layer()),
    Layer.provideMerge(folder),
    Layer.provideMerge(services)
  )

const idOf = (n: number) => `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`

const append = (n: number, payload = `${n} `.repeat(200)) =>
  Outbox.use((outbox) => outbox.append([{ id: idOf(n), topic: "large", key: "k", headers: {}, payload }]))

const files = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const names = yield* fs.readDirectory(yield* Folder, { recursive: true })
  return names.filter((name) => /\/[0-9a-f]{64}$/.test(name))
})

/** Lets all files be as old. */
const age = Effect.fnUntraced(function*(days: number) {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* Folder
  const seconds = (yield* Clock.currentTimeMillis) / 1_000 - days * 86_400
  yield* Effect.forEach(yield* files, (file) => fs.utimes(`${directory}/${file}`, seconds, seconds), { discard: true })
})

const keepFor = Duration.days(31)

const relayAll = Effect.scoped(Effect.gen(function*() {
  const outbox = yield* OutboxStore
  yield* Effect.forkScoped(OutboxRelay.run())
  yield* eventually("all is published", outbox.backlog, ({ count }) => count === 0)
}))

layer(fresh(), { excludeTestServices: true, timeout: "2 minutes" })("large payloads and PostgreSQL", (it) => {
  it.effect("law 53: what a rolled back transaction has stored is not published, and is swept when it is old", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const log = yield* EventLog
      yield* log.ensureTopics([{ name: "large", partitions: 1 }])
      yield* Effect.exit(sql.withTransaction(Effect.andThen(append(1), Effect.fail("rolled back"))))
      assert.lengthOf(yield* files, 1)
      yield* relayAll
      assert.deepStrictEqual((yield* log.ranges("large")).map(({ end }) => end), [0])
      assert.strictEqual(yield* sweep(keepFor), 0)
      yield* age(30.9)
      assert.strictEqual(yield* sweep(keepFor), 0)
      yield* age(31.1)
      assert.strictEqual(yield* sweep(keepFor), 1)
      assert.lengthOf(yield* files, 0)
    }))

  it.effect("one that a message in the outbox needs stays, and its age begins anew while it waits", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      yield* append(2)
      yield* age(40)
      assert.strictEqual(yield* sweep(keepFor), 0)
      assert.lengthOf(yield* files, 1)
      // It has waited for as long as its payload is old
      yield* sql`UPDATE outbox SET created_at = now() - interval '40 days'`
      assert.strictEqual(yield* sweep(keepFor), 0)
      yield* relayAll
      assert.strictEqual(yield* sweep(keepFor), 0)
      assert.lengthOf(yield* files, 1)
      yield* age(32)
      assert.strictEqual(yield* sweep(keepFor), 1)
    }))

  it.effect("one of a dead letter stays for as long as the letter is known, and goes where it is replayed", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient.SqlClient
      const log = yield* EventLog
      const book = yield* DeadLetters
      yield* append(3)
      yield* relayAll
      const [{ end = 0 } = {}] = yield* log.ranges("large")
      const { records: [record] } = yield* log.read({ topic: "large", partition: 0, offset: end - 1 })
      const letter = yield* deadLetterOf(record ?? assert.fail("not published"), {
        group: "g",
        attempts: 1,
        failure: { code: "busy", message: "try later" }
      })
      yield* book.record({ ...letter, partition: 0, offset: 0, publishedAt: 0 })
      yield* age(400)
      assert.strictEqual(yield* sweep(keepFor), 0)
      const [entered] = yield* book.list({}, { before: undefined, limit: 1 })
      yield* book.replay(entered?.id ?? assert.fail("not entered"), "test")
      yield* relayAll
      const { records: [replayed] } = yield* log.read({ topic: "large", partition: 0, offset: end })
      assert.strictEqual(replayed?.headers["payload-location"], record?.headers["payload-location"])
      assert.strictEqual(replayed?.headers["event-id"], idOf(3))
      assert.strictEqual(yield* sweep(keepFor), 0)
      assert.lengthOf(yield* files, 1)
      yield* sql`DELETE FROM dead_letters`
      assert.strictEqual(yield* sweep(keepFor), 1)
    }))
})
