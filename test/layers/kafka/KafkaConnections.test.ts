/** How the event log on Kafka uses its connections, on real brokers. */
import { assert, it, vi } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Queue, Random, Redacted, References } from "effect"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as EventLogKafka from "../../../src/layers/kafka/EventLogKafka.ts"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { NewRecord } from "../../../src/messaging/EventLog.ts"
import { freePort } from "../../support/FreePort.ts"
import { brokers, describeWithKafka, describeWithKafkaNode, patient } from "../../support/Kafka.ts"
import * as KafkaNode from "../../support/KafkaNode.ts"

const recordsOf = (topic: string, count: number): ReadonlyArray<NewRecord> =>
  Array.from({ length: count }, (_, n) => ({
    topic,
    key: `key-${n % 7}`,
    value: new TextEncoder().encode(`${n} `.repeat(50)),
    headers: { "event-id": String(n) }
  }))

/** Publishes to a new topic and reads it all back. */
const thereAndBack = Effect.fnUntraced(function*(count: number) {
  const log = yield* EventLog
  const topic = `topic-${yield* Random.nextInt}`
  yield* log.ensureTopics([{ name: topic, partitions: 2 }])
  const records = recordsOf(topic, count)
  yield* log.publish(records)
  const seen = yield* Queue.unbounded<NewRecord>()
  yield* Effect.forkScoped(
    log.subscribe(
      { group: topic, topics: [topic], from: "earliest" },
      ({ take }) => Effect.forever(Effect.flatMap(take, (batch) => Queue.offerAll(seen, batch)))
    )
  )
  const back = yield* Effect.timeout(Queue.takeN(seen, count), "60 seconds")
  const byId = (all: ReadonlyArray<NewRecord>) =>
    all.map(({ headers, key, value }) => ({ id: Number(headers["event-id"]), key, value }))
      .toSorted((a, b) => a.id - b.id)
  assert.deepStrictEqual(byId(back), byId(records))
})

const withLog = (options: Partial<EventLogKafka.EventLogKafkaOptions>) =>
  Layer.unwrap(
    Effect.map(brokers(), (addresses) => EventLogKafka.layer({ ...patient, brokers: addresses, ...options }))
  )

describeWithKafka("EventLogKafka", () => {
  it.live(
    "reads back what it has compressed",
    () => Effect.provide(Effect.scoped(thereAndBack(3_000)), withLog({ compression: "gzip" }))
  )

  it.live("does nothing every millisecond when there is nothing to do", () =>
    Effect.gen(function*() {
      yield* thereAndBack(10)
      const timers = vi.spyOn(globalThis, "setTimeout")
      yield* Effect.addFinalizer(() => Effect.sync(() => timers.mockRestore()))
      const [passed] = yield* Effect.timed(Effect.sleep("1 second"))
      const hasty = timers.mock.calls.filter(([, delay = 0]) => delay <= 1)
      assert.isBelow(hasty.length, 50 * Duration.toSeconds(passed))
      // What it counts is counted.
      assert.isAbove(timers.mock.calls.length, 0)
    }).pipe(Effect.scoped, Effect.provide(withLog({}))))
})

/** A certificate for 127.0.0.1, made by the JDK that Kafka runs on. */
const certificate = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "maas-test-tls-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  ),
  (folder) => {
    const keystore = join(folder, "node.p12")
    const store = ["-keystore", keystore, "-storetype", "PKCS12", "-storepass", "changeit", "-alias", "node"]
    const subject = ["-dname", "CN=127.0.0.1", "-ext", "SAN=IP:127.0.0.1", "-validity", "2"]
    execFileSync("keytool", ["-genkeypair", "-keyalg", "EC", ...store, ...subject], { stdio: "ignore" })
    const file = join(folder, "ca.pem")
    execFileSync("keytool", ["-exportcert", "-rfc", "-file", file, ...store], { stdio: "ignore" })
    return { keystore, authority: readFileSync(file, "utf8") }
  }
)

describeWithKafkaNode()("EventLogKafka, TLS and SASL", () => {
  it.live(
    "speaks TLS and says who it is; with a wrong password or authority it is unavailable",
    () =>
      Effect.gen(function*() {
        const { authority, keystore } = yield* certificate
        const secure = yield* freePort
        yield* KafkaNode.start({
          properties: ({ controllerPort, port }) =>
            `listeners=PLAINTEXT://127.0.0.1:${port},SECURE://127.0.0.1:${secure},CONTROLLER://127.0.0.1:${controllerPort}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL
listener.name.secure.sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_maas="right";
listener.name.secure.ssl.keystore.type=PKCS12
listener.name.secure.ssl.keystore.location=${keystore}
listener.name.secure.ssl.keystore.password=changeit`
        })
        const options = (password: string, ca: string | undefined) => ({
          ...patient,
          brokers: [`127.0.0.1:${secure}`] as const,
          tls: ca === undefined ? {} : { ca },
          sasl: { mechanism: "plain" as const, username: "maas", password: Redacted.make(password) }
        })
        yield* Effect.provide(Effect.scoped(thereAndBack(100)), EventLogKafka.layer(options("right", authority)))

        const look = Effect.flatMap(EventLog, (log) => Effect.flip(log.ranges("any")))
        for (const wrong of [options("wrong", authority), options("right", undefined)]) {
          const error = yield* Effect.provide(look, EventLogKafka.layer(wrong))
          assert.strictEqual(error._tag, "EventLogUnavailable")
        }
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
  )
})

describeWithKafkaNode()("EventLogKafka, a broker that does not answer", () => {
  it.live(
    "requests fail in time while it is paused, and what was published before it went on is in the log once",
    () =>
      Effect.gen(function*() {
        const node = yield* KafkaNode.start()
        const logWith = (options: Partial<EventLogKafka.EventLogKafkaOptions>) =>
          Effect.map(
            Layer.build(EventLogKafka.layer({ brokers: [node.address], ...options })),
            (context) => Context.get(context, EventLog)
          )
        const known = yield* logWith(patient)
        yield* known.ensureTopics([{ name: "t", partitions: 1 }])
        const log = yield* logWith({
          requestTimeout: "1 second",
          connectTimeout: "1 second",
          deliveryTimeout: "2 minutes"
        })
        yield* log.publish(recordsOf("t", 10))
        yield* node.pause
        const error = yield* Effect.timeout(Effect.flip(log.ranges("t")), "60 seconds")
        assert.strictEqual(error._tag, "EventLogUnavailable")
        const publishing = yield* Effect.forkScoped(log.publish(recordsOf("t", 5)))
        // Longer than a request may take: by then it has been tried again, over another connection.
        yield* Effect.sleep("3 seconds")
        yield* node.resume
        yield* Effect.timeout(Fiber.join(publishing), "2 minutes")
        assert.deepStrictEqual(yield* known.ranges("t"), [{ partition: 0, start: 0, end: 15 }])
      }).pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "None"))
  )
})
