/**
 * A model comes to be in a database and in a folder, by the outbox alone: what the saga `create_model` does with steps
 * that can be undone, this does with a message that is handled until it is done.
 *
 *     DATABASE_URL=postgres://… sh scripts/node examples/outbox.ts <folder> <name>
 *
 * The first transaction writes the model and the message. A consumer makes the folder, which it may do several times, and
 * then tells the database. There is no way back: the caller has his answer before the folder is made, so a folder that
 * can't be made (a disk that is full, a quota) can't be an error of the call. It is repeated, and at last an operator's.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Config, Console, Effect, FileSystem, Layer, Path, Schedule, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient } from "effect/sql"
import * as DatabaseClient from "../src/layers/postgres/DatabaseClient.ts"
import * as EventLogPg from "../src/layers/postgres/messaging/EventLogPg.ts"
import * as Notifications from "../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../src/layers/postgres/messaging/OutboxPg.ts"
import * as Migrations from "../src/layers/postgres/Migrations.ts"
import * as Consumer from "../src/messaging/Consumer.ts"
import { EventLog } from "../src/messaging/EventLog.ts"
import { decodeJson, HandlingFailed } from "../src/messaging/Handling.ts"
import { Outbox } from "../src/messaging/Outbox.ts"
import * as OutboxRelay from "../src/messaging/OutboxRelay.ts"

const topic = "example-models"
const Requested = Schema.Struct({ id: Schema.String, name: Schema.String })
const encode = Schema.encodeEffect(Schema.fromJsonString(Requested))

const tables = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`CREATE TABLE IF NOT EXISTS example_models (id uuid PRIMARY KEY, name text UNIQUE, state text NOT NULL)`
)

/** One transaction: the model, and the message that the rest is to be done. Answers before it is. */
const create = Effect.fn("create")(function*(name: string) {
  const sql = yield* SqlClient.SqlClient
  const outbox = yield* Outbox
  const random = yield* SecureRandom.SecureRandom
  const id = yield* random.uuidV7()
  const message = { id: yield* random.uuidV7(), topic, key: id, headers: {}, payload: yield* encode({ id, name }) }
  yield* sql.withTransaction(Effect.andThen(
    sql`INSERT INTO example_models (id, name, state) VALUES (${id}::uuid, ${name}, 'pending')`,
    outbox.append([message])
  ))
  return id
})

/** Delivered at least once: to make the folder again, and to say so again, changes nothing. */
const allocate = (folder: string) =>
  Effect.fn("allocate")(
    function*({ id }: typeof Requested.Type) {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const sql = yield* SqlClient.SqlClient
      yield* fs.makeDirectory(path.join(folder, id), { recursive: true })
      yield* sql`UPDATE example_models SET state = 'active' WHERE id = ${id}::uuid`
    },
    Effect.mapError((cause) => new HandlingFailed({ code: "allocation", message: cause.message, cause }))
  )

const stateOf = Effect.fnUntraced(function*(id: string) {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql<{ readonly state: string }>`SELECT state FROM example_models WHERE id = ${id}::uuid`
  return row?.state
})

const example = Effect.gen(function*() {
  const [folder = "models", name = "iris"] = process.argv.slice(2)
  const log = yield* EventLog
  yield* log.ensureTopics([{ name: topic, partitions: 4 }])
  yield* tables
  yield* Effect.forkScoped(OutboxRelay.run())
  yield* Effect.forkScoped(Consumer.run({
    group: "allocation",
    topics: [topic],
    from: "earliest",
    decode: decodeJson(Requested),
    handle: allocate(folder),
    retryDelays: ["1 second", "10 seconds", "1 minute"]
  }))

  const id = yield* create(name)
  yield* Console.log(`accepted ${id}: ${yield* stateOf(id)}`)
  yield* Effect.repeat(stateOf(id), { until: (state) => state === "active", schedule: Schedule.spaced("50 millis") })
  yield* Console.log(`done ${id}: active`)
}).pipe(Effect.scoped)

const database = Layer.unwrap(
  Effect.map(
    Config.Redacted("DATABASE_URL"),
    (url) =>
      DatabaseClient.layer({ url, maxConnections: 5, answerWithin: "10 seconds", connectionWithin: "10 seconds" })
  )
)

const services = Layer.mergeAll(EventLogPg.layer(), OutboxPg.layer()).pipe(
  Layer.provideMerge(Notifications.layer),
  Layer.provideMerge(Migrations.layer),
  Layer.provideMerge(database),
  Layer.provideMerge(Layer.merge(NodeServices.layer, SecureRandom.layerWebCrypto))
)

NodeRuntime.runMain(Effect.provide(example, services))
