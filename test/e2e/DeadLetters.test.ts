/** Dead letters from outside: a message that nobody can read is found, shown, replayed, and discarded with a reason. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import { randomUUID } from "node:crypto"
import * as EventLogPg from "../../src/layers/postgres/messaging/EventLogPg.ts"
import * as Notifications from "../../src/layers/postgres/messaging/Notifications.ts"
import { EventLog } from "../../src/messaging/EventLog.ts"
import { freshDatabase, layerOf } from "../support/Postgres.ts"
import type { Program, RequestOptions } from "../support/Program.ts"
import { dataDirectory, request, run, start } from "../support/Program.ts"

class Poisoned extends Context.Service<Poisoned, {
  readonly program: Program
  /** Puts bytes that are no event among the events of models. */
  readonly poison: (key: string) => Effect.Effect<void>
  /** Runs a command of the program, beside it, to its end. */
  readonly maas: (
    ...command: ReadonlyArray<string>
  ) => Effect.Effect<{ readonly code: number | null; readonly output: string }>
}>()("maas/test/e2e/DeadLetters.test/Poisoned") {
  static readonly layer = Layer.effect(
    Poisoned,
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const directory = yield* dataDirectory
      const environment = { DATABASE_URL: Redacted.value(url), USER: "ada" }
      const program = yield* start(directory, environment)
      const log = yield* Layer.build(
        EventLogPg.layer().pipe(Layer.provide(Notifications.layer), Layer.provide(layerOf(url, { maxConnections: 4 })))
      )
      const { publish } = Context.get(log, EventLog)
      return {
        program,
        maas: (...command) => run(directory, command, environment),
        poison: (key) =>
          publish([
            {
              topic: "model-events",
              key,
              value: new TextEncoder().encode("no event"),
              headers: { "event-id": randomUUID() }
            }
          ]).pipe(
            // The program makes its topics after it has begun to listen
            Effect.retry({ while: ({ _tag }) => _tag === "UnknownTopic", schedule: Schedule.spaced("50 millis") }),
            Effect.timeout("30 seconds"),
            Effect.orDie
          )
      }
    })
  )
}

const Letter = Schema.Struct({
  id: Schema.String,
  topic: Schema.String,
  group: Schema.String,
  key: Schema.String,
  error: Schema.String,
  state: Schema.Literals(["waiting", "replayed", "discarded"]),
  replays: Schema.Int
})
const Page = Schema.Struct({ items: Schema.Array(Letter), nextCursor: Schema.NullOr(Schema.String) })
const Details = Schema.Struct({
  ...Letter.fields,
  value: Schema.Struct({ encoding: Schema.String, text: Schema.String }),
  acts: Schema.Array(Schema.Struct({ act: Schema.String, by: Schema.String, reason: Schema.NullOr(Schema.String) }))
})

const path = "/api/v1/admin/dead-letters"
const call = (method: string, path: string, options?: RequestOptions) =>
  Effect.flatMap(Poisoned, ({ program }) => request(program, method, path, options))

const read = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return ({ json }: { readonly json: unknown }) => Effect.orDie(decode(json))
}

/** The letter of the key, once there is one that the condition holds for. */
const letterOf = (key: string, condition: (letter: typeof Letter.Type) => boolean = () => true) =>
  Effect.flatMap(call("GET", `${path}?key=${key}`), read(Page)).pipe(
    Effect.flatMap(({ items }) => Effect.fromNullishOr(items.find(condition))),
    Effect.retry(Schedule.spaced("100 millis")),
    Effect.timeout("60 seconds"),
    Effect.orDie
  )

layer(Poisoned.layer, { excludeTestServices: true, timeout: "2 minutes" })("dead letters", (it) => {
  it.effect("a message that is no event is found, with what was wrong and its bytes", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(Poisoned, ({ poison }) => poison("shown"))
      const letter = yield* letterOf("shown")
      assert.strictEqual(letter.topic, "model-events")
      assert.strictEqual(letter.group, "pipeline")
      assert.strictEqual(letter.state, "waiting")
      const details = yield* Effect.flatMap(call("GET", `${path}/${letter.id}`), read(Details))
      assert.deepStrictEqual(details.value, { encoding: "utf-8", text: "no event" })
      assert.deepStrictEqual(details.acts, [])
      const others = yield* Effect.flatMap(call("GET", `${path}?topic=inference-tasks`), read(Page))
      assert.deepStrictEqual(others.items, [])
    }))

  it.effect(
    "law 56: one that is replayed and fails again is the same letter, with its acts",
    () =>
      Effect.gen(function*() {
        yield* Effect.flatMap(Poisoned, ({ poison }) => poison("replayed"))
        const { id } = yield* letterOf("replayed")
        const replayed = yield* call("POST", `${path}/${id}/replay`)
        assert.strictEqual(replayed.status, 200, replayed.text)
        const back = yield* letterOf("replayed", ({ replays, state }) => replays === 1 && state === "waiting")
        assert.strictEqual(back.id, id)
        const { acts } = yield* Effect.flatMap(call("GET", `${path}/${id}`), read(Details))
        assert.deepStrictEqual(acts.map(({ act }) => act).toSorted(), ["replayed", "returned"])
        assert.isNotEmpty(acts.find(({ act }) => act === "replayed")?.by)
      })
  )

  it.effect("one that is discarded keeps the reason, and is not replayed any more", () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(Poisoned, ({ poison }) => poison("discarded"))
      const { id } = yield* letterOf("discarded")
      const discarded = yield* call("POST", `${path}/${id}/discard`, { json: { reason: "a test of ours" } })
      assert.strictEqual(discarded.status, 200, discarded.text)
      const { acts, state } = yield* Effect.flatMap(call("GET", `${path}/${id}`), read(Details))
      assert.strictEqual(state, "discarded")
      assert.deepStrictEqual(acts.map(({ act, reason }) => ({ act, reason })), [
        { act: "discarded", reason: "a test of ours" }
      ])
      assert.strictEqual((yield* call("POST", `${path}/${id}/replay`)).status, 409)
    }))

  it.effect("`maas dead-letters` lists, shows, replays and discards; who did it is remembered", () =>
    Effect.gen(function*() {
      const { maas, poison } = yield* Poisoned
      yield* poison("by-hand")
      const { id } = yield* letterOf("by-hand")

      const listed = yield* maas("dead-letters", "list", "--state", "waiting", "--topic", "model-events")
      assert.strictEqual(listed.code, 0, listed.output)
      assert.match(listed.output, new RegExp(`^${id}  waiting  \\S+Z  model-events  pipeline  key by-hand `, "m"))
      assert.strictEqual((yield* maas("dead-letters", "list", "--topic", "inference-tasks")).output.trim(), "")

      const shown = yield* maas("dead-letters", "show", id)
      assert.strictEqual(shown.code, 0, shown.output)
      assert.match(shown.output, /^event-id: /m)
      assert.match(shown.output, /^no event$/m)

      const replayed = yield* maas("dead-letters", "replay", id)
      assert.strictEqual(replayed.code, 0, replayed.output)
      yield* letterOf("by-hand", ({ replays, state }) => replays === 1 && state === "waiting")

      // The letters of other tests are none of its business
      const all = yield* maas("dead-letters", "replay-all", "--topic", "model-events", "--error", "no-such-error")
      assert.strictEqual(all.code, 0, all.output)
      assert.include(all.output, "Replayed 0")
      const some = yield* maas("dead-letters", "replay-all", "--group", "pipeline", "--error", "undecodable")
      assert.strictEqual(some.code, 0, some.output)
      yield* letterOf("by-hand", ({ replays, state }) => replays === 2 && state === "waiting")

      const discarded = yield* maas("dead-letters", "discard", id, "--reason", "nobody can read it")
      assert.strictEqual(discarded.code, 0, discarded.output)
      assert.match(
        (yield* maas("dead-letters", "show", id)).output,
        /Z {2}discarded by command line: ada: nobody can read it$/m
      )
      assert.match((yield* maas("topics")).output, /^model-events\.dlq {2}8 partitions {2}\d+ records /m)
    }))

  it.effect("`maas dead-letters` says what is wrong and ends with 1", () =>
    Effect.gen(function*() {
      const { maas } = yield* Poisoned
      const unknown = "01a20827-ef83-75cd-a1e2-13684612098e"
      const missing = yield* maas("dead-letters", "show", unknown)
      assert.strictEqual(missing.code, 1, missing.output)
      assert.include(missing.output, unknown)
      const noId = yield* maas("dead-letters", "replay", "the first")
      assert.strictEqual(noId.code, 1, noId.output)
      const noReason = yield* maas("dead-letters", "discard", unknown)
      assert.strictEqual(noReason.code, 1, noReason.output)
      assert.include(noReason.output, "reason")
    }))

  it.effect(
    "wrong input is refused: no reason, an id that is none, one that is unknown, a key without the scope",
    () =>
      Effect.gen(function*() {
        const { program } = yield* Poisoned
        const unknown = "01a20827-ef83-75cd-a1e2-13684612098e"
        assert.strictEqual((yield* call("GET", `${path}/${unknown}`)).status, 404)
        assert.strictEqual((yield* call("POST", `${path}/${unknown}/replay`)).status, 404)
        assert.include([400, 404, 422], (yield* call("GET", `${path}/..%2F`)).status)
        assert.include([400, 422], (yield* call("POST", `${path}/${unknown}/discard`, { json: {} })).status)
        assert.include([400, 422], (yield* call("GET", `${path}?state=lost`)).status)
        const key = yield* call("POST", "/api/v1/admin/keys", { json: { name: "reader", scopes: ["models:read"] } })
        const { key: secret } = yield* read(Schema.Struct({ key: Schema.String }))(key)
        assert.strictEqual((yield* request({ url: program.url, key: secret }, "GET", path)).status, 403)
      })
  )

  it.effect("operators see topics with the lag of their groups, and what waits for publication", () =>
    Effect.gen(function*() {
      const topics = yield* call("GET", "/api/v1/admin/topics")
      assert.strictEqual(topics.status, 200, topics.text)
      assert.include(topics.text, "model-events")
      assert.strictEqual((yield* call("GET", "/api/v1/admin/outbox")).status, 200)
      assert.strictEqual((yield* call("GET", "/api/v1/admin/outbox/backlog")).status, 200)
    }))
})
