import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Random, References } from "effect"
import { SqlClient } from "effect/sql"
import * as SecureRandomNode from "../../../src/layers/crypto/SecureRandomNode.ts"
import * as DeadLettersPg from "../../../src/layers/postgres/messaging/DeadLettersPg.ts"
import * as Consumer from "../../../src/messaging/Consumer.ts"
import * as DeadLetterRecorder from "../../../src/messaging/DeadLetterRecorder.ts"
import { DeadLetters } from "../../../src/messaging/DeadLetters.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import { HandlingFailed } from "../../../src/messaging/Handling.ts"
import { Outbox } from "../../../src/messaging/Outbox.ts"
import * as OutboxRelay from "../../../src/messaging/OutboxRelay.ts"
import { eventually } from "./EventLogFixtures.ts"
import * as PgMessaging from "./PgMessaging.ts"

const adapters = DeadLettersPg.layer().pipe(
  Layer.provideMerge(PgMessaging.layer()),
  Layer.provide(SecureRandomNode.layer),
  // The failures are the point of these tests; their log lines are not.
  Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, "None"))
)

const idOf = (n: number) => `00000000-0000-7000-8000-00000000000${n}`

/** A topic with a group that fails while `isBroken`, another that handles all, the book and a relay. */
const scene = Effect.gen(function*() {
  const log = yield* EventLog
  const topic = `topic-${yield* Random.nextInt}`
  yield* log.ensureTopics([{ name: topic, partitions: 2 }])
  let isBroken = true
  const handled: Array<string> = []
  const consume = (group: string, fails: () => boolean) =>
    Consumer.run({
      group: `${group}-${topic}`,
      topics: [topic],
      from: "earliest",
      decode: (record) => Effect.succeed(record),
      handle: (record) =>
        fails()
          ? new HandlingFailed({ code: "broken", message: "not now" })
          : Effect.sync(() => {
            handled.push(`${group} ${record.headers["event-id"]} ${new TextDecoder().decode(record.value)}`)
          }),
      retryDelays: ["20 millis"]
    })
  yield* Effect.forkScoped(consume("ours", () => isBroken))
  yield* Effect.forkScoped(consume("theirs", () => false))
  yield* Effect.forkScoped(OutboxRelay.run())
  yield* eventually(
    "the dead letters' topic",
    Effect.result(log.ranges(`${topic}.dlq`)),
    ({ _tag }) => _tag === "Success"
  )
  const recording = yield* Effect.forkScoped(DeadLetterRecorder.run([topic]))
  const outbox = yield* Outbox
  const append = (n: number) =>
    outbox.append([{ id: idOf(n), topic, key: `key-${n}`, headers: { kept: "yes" }, payload: `value ${n}` }])
  const book = yield* DeadLetters
  const waiting = Effect.map(
    book.list({ topic, state: "waiting" }, { before: undefined, limit: 100 }),
    (letters) => letters.length
  )
  return {
    topic,
    handled,
    append,
    book,
    waiting,
    recording,
    mend: Effect.sync(() => {
      isBroken = false
    })
  }
})

layer(adapters, { excludeTestServices: true, timeout: "2 minutes" })("DeadLettersPg", (it) => {
  it.effect(
    "law 56: found, shown, replayed with the same id to the group that failed only, and every act recorded",
    () =>
      Effect.gen(function*() {
        const { append, book, handled, mend, topic, waiting } = yield* scene
        yield* append(1)
        yield* eventually("it waits", waiting, (count) => count === 1)
        const [letter] = yield* book.list({ topic, error: "broken" }, { before: undefined, limit: 10 })
        assert.deepStrictEqual(
          [letter?.eventId, letter?.group, letter?.key, letter?.attempts, letter?.state],
          [idOf(1), `ours-${topic}`, "key-1", 2, "waiting"]
        )
        const id = letter?.id ?? ""
        const { value } = yield* book.find(id)
        assert.strictEqual(new TextDecoder().decode(value), "value 1")
        assert.deepStrictEqual((yield* book.waiting).filter((one) => one.topic === topic), [
          { topic, group: `ours-${topic}`, count: 1 }
        ])

        // Still broken: it comes back, and waits again.
        yield* book.replay(id, "ann")
        yield* eventually(
          "it is back",
          book.find(id),
          ({ acts, letter }) => acts.length === 2 && letter.state === "waiting"
        )
        yield* mend
        assert.strictEqual((yield* book.replay(id, "ben")).state, "replayed")
        yield* eventually("it is handled", Effect.sync(() => handled.length), (count) => count === 2)
        assert.deepStrictEqual(handled.toSorted(), [`ours ${idOf(1)} value 1`, `theirs ${idOf(1)} value 1`])
        const { acts, letter: settled } = yield* book.find(id)
        assert.deepStrictEqual(acts.map(({ act, by }) => [act, by]), [
          ["replayed", "ann"],
          ["returned", `ours-${topic}`],
          ["replayed", "ben"]
        ])
        assert.deepStrictEqual([settled.state, settled.replays], ["replayed", 2])
        const again = yield* Effect.flip(book.replay(id, "ann"))
        assert.strictEqual(again._tag, "DeadLetterSettled")
      })
  )

  it.effect(
    "all that match are replayed, one is discarded with a reason, pages go on, and nobody is told twice",
    () =>
      Effect.gen(function*() {
        const { append, book, handled, mend, recording, topic, waiting } = yield* scene
        yield* Effect.forEach([1, 2, 3, 4, 5], append)
        yield* eventually("all wait", waiting, (count) => count === 5)
        const first = yield* book.list({ topic }, { before: undefined, limit: 2 })
        const rest = yield* book.list({ topic }, { before: first.at(-1)?.id, limit: 10 })
        assert.strictEqual(new Set([...first, ...rest].map(({ id }) => id)).size, 5)
        assert.deepStrictEqual(yield* book.list({ topic, key: "nobody" }, { before: undefined, limit: 2 }), [])

        const discarded = yield* book.discard(first[0]?.id ?? "", "ann", "a test")
        assert.strictEqual(discarded.state, "discarded")
        const { acts: [act] } = yield* book.find(discarded.id)
        assert.deepStrictEqual([act?.act, act?.by, act?.reason], ["discarded", "ann", "a test"])

        // What the topic holds comes again, as after a crash: the book knows it.
        yield* Fiber.interrupt(recording)
        const sql = yield* SqlClient.SqlClient
        yield* sql`UPDATE event_log_offsets SET committed = 0 WHERE group_name = ${DeadLetterRecorder.recorderGroup}`
        yield* Effect.forkScoped(DeadLetterRecorder.run([topic]))

        yield* mend
        assert.strictEqual(yield* book.replayAll({ topic }, "ben"), 4)
        yield* eventually(
          "they are handled",
          Effect.sync(() => handled.filter((one) => one.startsWith("ours")).length),
          (count) => count === 4
        )
        assert.strictEqual(yield* waiting, 0)
        assert.strictEqual((yield* book.find(discarded.id)).letter.state, "discarded")
        assert.strictEqual((yield* Effect.flip(book.discard("nonsense", "ann", "none")))._tag, "DeadLetterUnknown")
      })
  )
})
