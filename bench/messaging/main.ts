/**
 * The figures of docs/messaging.md: `npm run bench:messaging`. A PostgreSQL and a Kafka of its own; publisher, relay and
 * consumer share this process. `BENCH_EVENTS` sets how many events drain from the outbox, 200,000 unless given, and
 * `BENCH_FIGURES` which figures are taken, `latency,inbox,drain` unless given.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Array, Console, Deferred, Effect, FileSystem, Latch, Layer, Option, References, Schedule } from "effect"
import type { Redacted } from "effect"
import * as SecureRandomNode from "../../src/layers/crypto/SecureRandomNode.ts"
import * as EmbeddedPostgres from "../../src/layers/embedded/EmbeddedPostgres.ts"
import * as EventLogKafka from "../../src/layers/kafka/EventLogKafka.ts"
import * as DatabaseClient from "../../src/layers/postgres/DatabaseClient.ts"
import * as EventLogPg from "../../src/layers/postgres/messaging/EventLogPg.ts"
import * as InboxPg from "../../src/layers/postgres/messaging/InboxPg.ts"
import * as Notifications from "../../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../../src/layers/postgres/messaging/OutboxPg.ts"
import * as Migrations from "../../src/layers/postgres/Migrations.ts"
import * as Consumer from "../../src/messaging/Consumer.ts"
import { EventLog } from "../../src/messaging/EventLog.ts"
import { HandlingFailed } from "../../src/messaging/Handling.ts"
import { Inbox } from "../../src/messaging/Inbox.ts"
import { Outbox } from "../../src/messaging/Outbox.ts"
import * as OutboxRelay from "../../src/messaging/OutboxRelay.ts"
import { OutboxStore } from "../../src/messaging/OutboxStore.ts"
import * as KafkaNode from "../../test/support/KafkaNode.ts"

const drained = Number(process.env["BENCH_EVENTS"] ?? 200_000)
const figures = new Set((process.env["BENCH_FIGURES"] ?? "latency,inbox,drain").split(","))
/** Events after which memory is looked at. */
const settled = Math.min(20_000, drained / 10)
const inboxed = 30_000
const light = 300
const partitions = 8
const keys = 500
/** To PostgreSQL, which flushes its log for many at once. */
const connections = 40
const mebibyte = 1024 * 1024

const quantile = (values: ReadonlyArray<number>, q: number): number =>
  values.toSorted((one, other) => one - other)[Math.floor(values.length * q)] ?? Number.NaN

let made = 0
const message = (topic: string, bytes: number) => {
  const n = ++made
  return {
    id: `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}`,
    topic,
    key: `key-${n % keys}`,
    headers: { "event-type": "bench" },
    payload: "x".repeat(bytes)
  }
}

const seconds = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(effect, () => (performance.now() - started) / 1_000)
  })

const print = (figure: string, measured: string, wanted: string) =>
  Console.log(`| ${figure} | ${measured} | ${wanted} |`)

/** From the return of the commit to the begin of the handler, one event at a time. */
const latency = Effect.fnUntraced(function*(topic: string) {
  const log = yield* EventLog
  const outbox = yield* Outbox
  yield* log.ensureTopics([{ name: topic, partitions }])
  const begun = new Map<string, Deferred.Deferred<number>>()
  yield* Effect.forkScoped(OutboxRelay.run())
  yield* Effect.forkScoped(Consumer.run({
    group: topic,
    topics: [topic],
    from: "earliest",
    decode: ({ headers }) => Effect.succeed(headers["event-id"] ?? ""),
    handle: (id) =>
      Effect.sync(() => {
        const waiting = begun.get(id)
        if (waiting !== undefined) Deferred.doneUnsafe(waiting, Effect.succeed(performance.now()))
      }),
    retryDelays: ["1 second"]
  }))
  const one = Effect.gen(function*() {
    const event = message(topic, 1_024)
    const waiting = yield* Deferred.make<number>()
    begun.set(event.id, waiting)
    yield* outbox.append([event])
    const committed = performance.now()
    const millis = (yield* Deferred.await(waiting)) - committed
    begun.delete(event.id)
    yield* Effect.sleep("10 millis")
    return millis
  })
  yield* Effect.replicateEffect(one, 30)
  return yield* Effect.replicateEffect(one, light)
}, Effect.scoped)

/**
 * Events that wait in the outbox, all brought to the log by one relay; the memory of this process meanwhile, from when
 * its code is compiled and its buffers are as large as they get.
 */
const drain = Effect.fnUntraced(function*(topic: string) {
  const log = yield* EventLog
  const outbox = yield* Outbox
  const store = yield* OutboxStore
  yield* log.ensureTopics([{ name: topic, partitions }])
  const batch = 1_000
  yield* Effect.forEach(
    Array.range(1, Math.ceil(drained / batch)),
    () => outbox.append(Array.makeBy(batch, () => message(topic, 1_024))),
    { discard: true }
  )
  const memory: Array<number> = []
  let published = 0
  yield* Effect.forkScoped(
    Effect.sync(() => {
      if (published >= settled) memory.push(process.memoryUsage.rss() / mebibyte)
    }).pipe(
      Effect.repeat(Schedule.spaced("200 millis"))
    )
  )
  const done = Latch.makeUnsafe(false)
  const counted = EventLog.of({
    ...log,
    publish: (records) =>
      Effect.tap(log.publish(records), () =>
        Effect.sync(() => {
          published += records.length
          if (published >= drained) done.openUnsafe()
        }))
  })
  const took = yield* seconds(Effect.gen(function*() {
    yield* Effect.forkScoped(Effect.provideService(OutboxRelay.run(), EventLog, counted))
    yield* done.await
  }))
  yield* Effect.repeat(store.backlog, { until: ({ count }) => count === 0 })
  const quarter = Math.ceil(memory.length / 4)
  return {
    rate: published / took,
    early: Math.max(...memory.slice(0, quarter)),
    late: Math.max(...memory.slice(-quarter))
  }
}, Effect.scoped)

/** Events that are in the log, each handled by nothing but the record of its id; from the first to the last. */
const inboxRate = Effect.fnUntraced(function*(topic: string) {
  const log = yield* EventLog
  const inbox = yield* Inbox
  yield* log.ensureTopics([{ name: topic, partitions }])
  for (let n = 0; n < inboxed; n += 1_000) {
    yield* log.publish(Array.makeBy(1_000, () => {
      const { headers, id, key, payload } = message(topic, 200)
      return { topic, key, headers: { ...headers, "event-id": id }, value: new TextEncoder().encode(payload) }
    }))
  }
  let handled = 0
  const first = Latch.makeUnsafe(false)
  const done = Latch.makeUnsafe(false)
  yield* Effect.forkScoped(
    Consumer.run({
      group: topic,
      topics: [topic],
      from: "earliest",
      decode: ({ headers }) => Effect.succeed(headers["event-id"] ?? ""),
      handle: (id) =>
        inbox.onceTogether(topic, id, Effect.void).pipe(
          Effect.mapError((cause) => new HandlingFailed({ code: "unavailable", message: cause.message })),
          Effect.map((fresh) => {
            if (Option.isNone(fresh)) return
            first.openUnsafe()
            if (++handled === inboxed) done.openUnsafe()
          })
        ),
      retryDelays: ["1 second"],
      concurrency: 2 * connections
    })
  )
  yield* first.await
  return (inboxed - handled) / (yield* seconds(done.await))
}, Effect.scoped)

const adapters = (url: Redacted.Redacted, kafka: string | undefined) =>
  Layer.mergeAll(
    kafka === undefined ? EventLogPg.layer() : EventLogKafka.layer({ brokers: [kafka] }),
    OutboxPg.layer(),
    InboxPg.layer()
  ).pipe(
    Layer.provideMerge(Notifications.layer),
    Layer.provideMerge(DatabaseClient.layer({
      url,
      maxConnections: connections,
      answerWithin: "1 minute",
      connectionWithin: "1 minute"
    }))
  )

const bench = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "maas-bench-" })
  const { url } = yield* EmbeddedPostgres.start({ directory })
  const client = DatabaseClient.layer({
    url,
    maxConnections: 1,
    answerWithin: "1 minute",
    connectionWithin: "1 minute"
  })
  yield* Layer.build(Migrations.layer.pipe(Layer.provide(client)))
  const node = yield* KafkaNode.start()
  yield* Console.log("| figure | measured | wanted |\n| --- | --- | --- |")
  for (const [name, kafka, wanted] of [["PostgreSQL", undefined, 15], ["Kafka", node.address, 30]] as const) {
    yield* Effect.gen(function*() {
      if (figures.has("latency")) {
        const millis = yield* latency(`latency-${name}`)
        yield* print(
          `commit to handler, ${name}, p50 (p99)`,
          `${quantile(millis, 0.5).toFixed(1)} ms (${quantile(millis, 0.99).toFixed(1)} ms)`,
          `< ${wanted} ms`
        )
      }
      if (figures.has("inbox")) {
        const rate = yield* inboxRate(`inbox-${name}`)
        yield* print(`consumer with only the inbox, ${name}`, `${rate.toFixed(0)}/s`, "≥ 3,000/s")
      }
      if (kafka === undefined || !figures.has("drain")) return
      const { early, late, rate: relayed } = yield* drain("drain")
      yield* print(`outbox to Kafka, one relay, ${drained} events of 1 KiB`, `${relayed.toFixed(0)}/s`, "≥ 10,000/s")
      yield* print(
        `resident memory after ${settled} of them, in the first quarter and in the last`,
        `${early.toFixed(0)} → ${late.toFixed(0)} MiB`,
        "flat"
      )
    }).pipe(Effect.provide(adapters(url, kafka)))
  }
})

Effect.scoped(bench).pipe(
  Effect.provide([NodeServices.layer, SecureRandomNode.layer]),
  Effect.provideService(References.MinimumLogLevel, "Error"),
  NodeRuntime.runMain()
)
