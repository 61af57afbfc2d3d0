/** What holds of payloads that travel by reference, on every adapter of `EventLog`, on the live clock. */
import { assert, layer as shareLayer } from "@effect/vitest"
import { Effect, Layer, Random, Ref, References, Stream } from "effect"
import * as Consumer from "../../../src/messaging/Consumer.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { LogRecord } from "../../../src/messaging/EventLog.ts"
import { HandlingFailed } from "../../../src/messaging/Handling.ts"
import * as LargePayloads from "../../../src/messaging/LargePayloads.ts"
import { Outbox, toRecord } from "../../../src/messaging/Outbox.ts"
import { PayloadStore, PayloadStoreUnavailable } from "../../../src/messaging/PayloadStore.ts"
import * as PayloadStoreMemory from "../../../src/messaging/PayloadStoreMemory.ts"
import { eventually } from "./EventLogFixtures.ts"

/** An outbox whose messages are published at once. */
const outbox = Layer.effect(
  Outbox,
  Effect.map(EventLog, (log) => Outbox.of({ append: (messages) => Effect.orDie(log.publish(messages.map(toRecord))) }))
)

const inlineBytes = 1_000
const messaging = LargePayloads.outbox({ inlineBytes, maxBytes: 4_000_000 }).pipe(
  Layer.provideMerge(Layer.merge(outbox, PayloadStoreMemory.layer))
)

const uniqueTopic = Effect.gen(function*() {
  const log = yield* EventLog
  const topic = `topic-${yield* Random.nextInt}`
  yield* log.ensureTopics([{ name: topic, partitions: 2, isExact: true }])
  return topic
})

const idOf = (n: number) => `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`

const append = (topic: string, n: number, payload: string | Uint8Array) =>
  Outbox.use((outbox) =>
    outbox.append([{ id: idOf(n), topic, key: "k", headers: { "content-type": "text/plain" }, payload }])
  )

/** Of a topic that its consumer has not made yet, none. */
const contents = Effect.fnUntraced(
  function*(topic: string) {
    const log = yield* EventLog
    const found: Array<LogRecord> = []
    for (const { partition } of yield* log.ranges(topic)) {
      found.push(...(yield* log.read({ topic, partition, offset: 0 })).records)
    }
    return found
  },
  Effect.catchTag("UnknownTopic", () => Effect.succeed<ReadonlyArray<LogRecord>>([]))
)

const consume = Effect.fnUntraced(function*(
  topic: string,
  handle: (text: string) => Effect.Effect<void, HandlingFailed> = () => Effect.void
) {
  const handled = yield* Ref.make<ReadonlyArray<string>>([])
  yield* Effect.forkScoped(Consumer.run({
    group: `group-of-${topic}`,
    topics: [topic],
    from: "earliest",
    decode: LargePayloads.resolved(({ value }) => Effect.succeed(new TextDecoder().decode(value)), {
      maxBytes: 3_000_000
    }),
    handle: (text: string) => Effect.andThen(handle(text), Ref.update(handled, (all) => [...all, text])),
    retryDelays: [100, 200]
  }))
  return { handled: Ref.get(handled) }
})

const large = "ü".repeat(1_200_000)

export const payloadContract = <E>(name: string, adapter: Layer.Layer<EventLog, E>) =>
  shareLayer(
    Layer.mergeAll(Layer.provideMerge(messaging, adapter), Layer.succeed(References.MinimumLogLevel, "None")),
    { excludeTestServices: true, timeout: "2 minutes" }
  )(name, (it) => {
    it.effect("a payload that no record could take arrives whole; a small one goes along as ever", () =>
      Effect.gen(function*() {
        const topic = yield* uniqueTopic
        yield* append(topic, 1, large)
        yield* append(topic, 2, "small")
        yield* append(topic, 3, "x".repeat(inlineBytes))
        yield* append(topic, 4, new Uint8Array(inlineBytes + 1).fill(0x79))
        const { handled } = yield* consume(topic)
        const texts = yield* eventually("all arrive", handled, ({ length }) => length === 4)
        assert.deepStrictEqual(texts.slice(1), ["small", "x".repeat(inlineBytes), "y".repeat(inlineBytes + 1)])
        assert.isTrue(texts[0] === large)
        const records = yield* contents(topic)
        assert.deepStrictEqual(records.map(({ value }) => value.byteLength), [0, 5, inlineBytes, 0])
        assert.strictEqual(records[0]?.headers["payload-size"], "2400000")
        assert.match(records[0]?.headers["payload-location"] ?? "", /^\d{4}-\d{2}-\d{2}\/[0-9a-f]{64}$/)
        assert.strictEqual(records[0]?.headers["content-type"], "text/plain")
        assert.isUndefined(records[1]?.headers["payload-location"])
      }))

    it.effect("law 56: it is retried and dead-lettered by reference, and what was a dead letter can be sent again", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const topic = yield* uniqueTopic
        yield* append(topic, 1, large)
        let attempts = 0
        const { handled } = yield* consume(topic, () =>
          ++attempts <= 3 ? new HandlingFailed({ code: "busy", message: "try later" }) : Effect.void)
        const [letter] = yield* eventually("it is given up", contents(`${topic}.dlq`), ({ length }) =>
          length === 1)
        assert.strictEqual(letter?.value.byteLength, 0)
        assert.strictEqual(letter?.headers["dlq-error"], "busy")
        assert.strictEqual(letter?.headers["dlq-attempts"], "3")
        const [original] = yield* contents(topic)
        assert.strictEqual(letter?.headers["payload-location"], original?.headers["payload-location"])
        yield* log.publish(original === undefined ? [] : [original])
        const [text] = yield* eventually("it is handled then", handled, ({ length }) => length === 1)
        assert.isTrue(text === large)
      }))

    it.effect("law 56: one that is missing, corrupt, too large or no reference is a dead letter at once, its key goes on", () =>
      Effect.gen(function*() {
        const log = yield* EventLog
        const store = yield* PayloadStore
        const topic = yield* uniqueTopic
        for (const n of [1, 2, 3]) yield* append(topic, n, `${n}`.repeat(inlineBytes + n))
        yield* append(topic, 4, "4".repeat(3_000_001))
        yield* log.publish([{
          topic,
          key: "k",
          value: new Uint8Array(),
          headers: { "event-id": idOf(5), "payload-location": "../../etc/passwd", "payload-size": "1" }
        }])
        yield* append(topic, 6, "last")
        const locations = yield* Stream.runCollect(store.olderThan(-60_000))
        const sent = (yield* contents(topic)).map(({ headers }) => headers["payload-location"])
        const at = (index: number) =>
          locations.find((location) => location === sent[index]) ?? assert.fail("not stored")
        yield* store.remove(at(0))
        yield* store.put(at(1), new TextEncoder().encode("2".repeat(inlineBytes + 1) + "3"))
        yield* store.put(at(2), new TextEncoder().encode("3".repeat(inlineBytes + 4)))
        const { handled } = yield* consume(topic)
        const letters = yield* eventually("they are given up", contents(`${topic}.dlq`), ({ length }) => length === 5)
        assert.deepStrictEqual(letters.map(({ headers }) => [headers["dlq-error"], headers["dlq-attempts"]]), [
          ["payload_missing", "1"],
          ["payload_corrupt", "1"],
          ["payload_corrupt", "1"],
          ["payload_too_large", "1"],
          ["payload_reference_invalid", "1"]
        ])
        assert.deepStrictEqual(yield* eventually("the key goes on", handled, ({ length }) => length === 1), ["last"])
      }))

    it.effect("law 56: a store that is away is a failure that passes", () =>
      Effect.gen(function*() {
        const store = yield* PayloadStore
        const topic = yield* uniqueTopic
        yield* append(topic, 1, large)
        let asked = 0
        const away = new PayloadStoreUnavailable({ operation: "get", cause: "for a while" })
        const { handled } = yield* consume(topic).pipe(
          Effect.provideService(PayloadStore, {
            ...store,
            get: (location, limit) => asked++ < 2 ? away : store.get(location, limit)
          })
        )
        const [text] = yield* eventually("it is handled then", handled, ({ length }) => length === 1)
        assert.isTrue(text === large)
        assert.strictEqual(asked, 3)
        assert.lengthOf(yield* contents(`${topic}.dlq`), 0)
      }))

    it.effect("what can't be stored, or is too large, is not published", () =>
      Effect.gen(function*() {
        const store = yield* PayloadStore
        const topic = yield* uniqueTopic
        const tooLarge = yield* Effect.flip(append(topic, 1, new Uint8Array(4_000_001)))
        assert.deepInclude(tooLarge, { _tag: "RecordTooLarge", size: 4_000_001, limit: 4_000_000 })
        const away = new PayloadStoreUnavailable({ operation: "put", cause: "full" })
        const refused = yield* Effect.flip(append(topic, 2, large)).pipe(
          Effect.provide(LargePayloads.outbox({ inlineBytes }), { local: true }),
          Effect.provideService(PayloadStore, { ...store, put: () => away })
        )
        assert.strictEqual(refused._tag, "OutboxUnavailable")
        assert.lengthOf(yield* contents(topic), 0)
      }))
  })
