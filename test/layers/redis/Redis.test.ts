import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Redacted, Scope } from "effect"
import { TestClock } from "effect/testing"
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import * as LuaScript from "../../../src/layers/redis/LuaScript.ts"
import * as Redis from "../../../src/layers/redis/Redis.ts"
import type { RedisError } from "../../../src/layers/redis/RedisErrors.ts"
import * as FakeRedis from "../../support/FakeRedis.ts"
import { eventually } from "../../support/Processes.ts"
import { client, describeWithRedis, patient, start, untilConnected, untilDisconnected } from "../../support/Redis.ts"

/** On virtual time it is the machine alone that could be slow to connect. */
const at = (
  port: number
) => ({ url: Redacted.make(`redis://127.0.0.1:${port}`), connectTimeout: "60 seconds" } as const)

/** So short that a test may wait for it, so long that a server that does answer is in time on a machine that is busy. */
const soon = { commandTimeout: "3 seconds", hungAfter: "4 seconds" } as const

/** Why a command had no answer. */
const reasonOf = (error: RedisError) => error._tag === "RedisUnavailable" ? error.reason : error.answer

const failing = (redis: Redis.Redis["Service"]) => Effect.map(Effect.flip(redis.send(["GET", "k"])), reasonOf)

const loggerTo = (lines: Array<string>) =>
  Logger.make(({ logLevel, message }) => lines.push(`${logLevel} ${String(message)}`))

describeWithRedis("a connection to Redis", () => {
  it.live("the program starts while Redis is away, and finds it whenever it is there", () =>
    Effect.gen(function*() {
      const server = yield* start()
      yield* server.kill
      const redis = yield* client({ url: server.url, ...patient })
      assert.strictEqual(yield* failing(redis), "NotConnected")
      for (const _ of [1, 2]) {
        yield* server.restart
        yield* untilConnected(redis)
        assert.strictEqual(yield* redis.send(["SET", "k", "v"]), "OK")
        yield* server.kill
        yield* untilDisconnected(redis)
        assert.strictEqual(yield* failing(redis), "NotConnected")
      }
    }).pipe(Effect.scoped))

  it.live(
    "a server that is halted keeps nobody waiting, and is used again when it goes on",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const redis = yield* client({ url: server.url, ...soon })
        yield* untilConnected(redis)
        yield* redis.send(["SET", "k", "v"])
        yield* server.stop
        assert.strictEqual(yield* failing(redis), "TimedOut")
        // Then the connection is given up, and another is not made
        yield* untilDisconnected(redis)
        assert.strictEqual(yield* failing(redis), "NotConnected")
        yield* server.cont
        yield* untilConnected(redis)
        assert.strictEqual(yield* redis.send(["GET", "k"]), "v")
      }).pipe(Effect.scoped)
  )

  it.live("a script that the server forgot is sent again", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const redis = yield* client({ url: server.url, ...patient })
      const script = LuaScript.make("return { KEYS[1], ARGV[1], 2 ^ 52 + 1 }")
      yield* untilConnected(redis)
      for (const _ of [1, 2]) {
        const answer = yield* redis.evaluate(script, ["key"], ["argument"])
        assert.deepStrictEqual(answer, ["key", "argument", 2 ** 52 + 1])
        assert.include(yield* server.tell(`SCRIPT EXISTS ${script.sha1}`), ":1")
        yield* server.tell("SCRIPT FLUSH")
      }
    }).pipe(Effect.scoped))

  it.live("an answer that is an error is told as it is", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const redis = yield* client({ url: server.url, ...patient })
      yield* untilConnected(redis)
      const error = yield* Effect.flip(redis.send(["INCR"]))
      assert(error._tag === "RedisRefused")
      assert.strictEqual(error.code, "ERR")
      assert.strictEqual(yield* redis.send(["INCR", "n"]), 1)
    }).pipe(Effect.scoped))

  it.live("a password is used, and never logged", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = loggerTo(lines)
      const server = yield* start({ password: "s3cret-of-redis" })
      const redis = yield* client({ url: server.url, ...patient }, logger)
      yield* untilConnected(redis)
      assert.strictEqual(yield* redis.send(["PING"]), "PONG")
      yield* client({ url: Redacted.make(`redis://:wr0ng-one@127.0.0.1:${server.port}`) }, logger)
      yield* eventually(() => lines.some((line) => line.includes("WRONGPASS")))
      assert.isTrue(lines.some((line) => line.includes(`Redis at 127.0.0.1:${server.port} is connected`)))
      for (const line of lines) assert.notMatch(line, /s3cret-of-redis|wr0ng-one/)
    }).pipe(Effect.scoped))

  it.live("rediss:// speaks TLS, with servers whose certificate is trusted only", (context) =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "maas-redis-tls-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
      )
      const [key, certificate] = [join(folder, "key.pem"), join(folder, "certificate.pem")]
      const made = yield* Effect.callback<boolean>((resume) => {
        const args = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext
          subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${certificate}`
        execFile("openssl", args.split(/\s+/), (error) => resume(Effect.succeed(error === null)))
      })
      if (!made && process.env["MAAS_TESTS_SKIP_NOTHING"] !== "1") context.skip("openssl is not installed")
      const server = yield* start({
        tls: { certificate, key }
      })
      const stranger = yield* Effect.forkChild(
        Effect.timeoutOption(Effect.flatMap(client({ url: server.url }), untilConnected), "1 second")
      )
      assert.isTrue(Option.isNone(yield* Fiber.join(stranger)))
      const trusted = getCACertificates("default")
      yield* Effect.acquireRelease(
        Effect.sync(() => setDefaultCACertificates([...trusted, readFileSync(certificate, "utf8")])),
        () => Effect.sync(() => setDefaultCACertificates(trusted))
      )
      const redis = yield* client({ url: server.url, ...patient })
      yield* untilConnected(redis)
      assert.strictEqual(yield* redis.send(["PING"]), "PONG")
    }).pipe(Effect.scoped))
})

describe("a Redis that misbehaves", () => {
  it.effect("a command ends at its time limit and not before, and a connection that stays silent is made anew", () =>
    Effect.gen(function*() {
      const server = yield* FakeRedis.start({ answer: () => undefined })
      const redis = yield* client(at(server.port))
      yield* TestClock.withLive(untilConnected(redis))
      const first = yield* Effect.forkChild(failing(redis), { startImmediately: true })
      yield* TestClock.adjust(50)
      const second = yield* Effect.forkChild(failing(redis), { startImmediately: true })
      yield* TestClock.adjust(49)
      assert.isUndefined(first.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* Fiber.join(first), "TimedOut")
      assert.isUndefined(second.pollUnsafe())
      yield* TestClock.adjust(50)
      assert.strictEqual(yield* Fiber.join(second), "TimedOut")
      yield* TestClock.adjust(849)
      assert.isTrue(yield* redis.isConnected)
      yield* TestClock.adjust(1)
      assert.isFalse(yield* redis.isConnected)
      yield* TestClock.adjust("2 seconds")
      yield* TestClock.withLive(untilConnected(redis))
    }).pipe(Effect.scoped))

  it.effect("a late answer reaches nobody, least of all who asked later", () =>
    Effect.gen(function*() {
      const waiting: Array<() => void> = []
      const server = yield* FakeRedis.start({
        answer: ([name = ""], socket) => {
          waiting.push(() => socket.write(`+${name}\r\n`))
          return undefined
        }
      })
      const redis = yield* client(at(server.port))
      yield* TestClock.withLive(untilConnected(redis))
      const early = yield* Effect.forkChild(Effect.flip(redis.send(["EARLY"])), { startImmediately: true })
      yield* TestClock.adjust(100)
      assert.strictEqual(reasonOf(yield* Fiber.join(early)), "TimedOut")
      const late = yield* Effect.forkChild(redis.send(["LATE"]), { startImmediately: true })
      yield* TestClock.withLive(eventually(() => waiting.length === 2))
      for (const answer of waiting) answer()
      assert.strictEqual(yield* TestClock.withLive(Fiber.join(late)), "LATE")
    }).pipe(Effect.scoped))

  it.effect("no more than so many commands wait, the next fails at once", () =>
    Effect.gen(function*() {
      const server = yield* FakeRedis.start({ answer: () => undefined })
      const redis = yield* client({ ...at(server.port), maxPending: 3 })
      yield* TestClock.withLive(untilConnected(redis))
      const fibers = yield* Effect.forEach(
        [1, 2, 3],
        () => Effect.forkChild(failing(redis), { startImmediately: true })
      )
      assert.strictEqual(yield* failing(redis), "TooManyCommands")
      // Also those that nobody waits for any more are still to be answered
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), ["TimedOut", "TimedOut", "TimedOut"])
      assert.strictEqual(yield* failing(redis), "TooManyCommands")
    }).pipe(Effect.scoped))

  const nonsense = {
    "another protocol": "HTTP/1.1 400 Bad Request\r\n\r\n",
    "an answer too many": "+OK\r\n+OK\r\n",
    "a length that is none": "$x\r\n"
  }
  it.live.each(Object.entries(nonsense))(
    "%s ends the connection, and another is made",
    ([, said]) =>
      Effect.gen(function*() {
        let connections = 0
        const server = yield* FakeRedis.start({
          answer: ([name]) => {
            if (name === "HELLO") connections++
            return name === "GET" ? said : "+OK\r\n"
          },
          shakesHands: false
        })
        const redis = yield* client({ ...at(server.port), ...soon })
        yield* untilConnected(redis)
        yield* Effect.exit(redis.send(["GET", "k"]))
        yield* eventually(() => connections === 2)
        yield* untilConnected(redis)
        assert.strictEqual(yield* redis.send(["SET", "k", "v"]), "OK")
      }).pipe(Effect.scoped)
  )

  it.live("nonsense in the handshake: tried again and again, and told once", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      let attempts = 0
      const server = yield* FakeRedis.start({
        answer: () => {
          attempts++
          return "nonsense\r\n"
        },
        shakesHands: false
      })
      const redis = yield* client(at(server.port), loggerTo(lines))
      yield* eventually(() => attempts >= 5)
      assert.strictEqual(yield* failing(redis), "NotConnected")
      assert.strictEqual(lines.filter((line) => line.includes("is away")).length, 1)
    }).pipe(Effect.scoped))

  it.live("nothing is left of it when its scope closes, whether connected or still connecting", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const silent = yield* FakeRedis.start({
        answer: () => {
          Deferred.doneUnsafe(asked, Effect.void)
          return undefined
        },
        shakesHands: false
      })
      const polite = yield* FakeRedis.start({ answer: () => undefined })
      const scope = yield* Scope.make()
      const [connected] = yield* Effect.forEach([polite, silent], ({ port }) => client({ ...at(port), ...patient }))
        .pipe(
          Scope.provide(scope)
        )
      assert(connected !== undefined)
      yield* untilConnected(connected)
      yield* Deferred.await(asked)
      const pending = yield* Effect.forkChild(failing(connected), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(pending), "ConnectionLost")
      yield* eventually(() => polite.connections() === 0 && silent.connections() === 0)
    }).pipe(Effect.scoped))

  it.effect("a URL that is none is refused without being shown", () =>
    Effect.gen(function*() {
      for (const url of ["", "redis", "http://localhost", "redis://", "redis://:pass@host/x", "redis://:pass@h:port"]) {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(Redis.layer({ url: Redacted.make(url) }))))
        assert.strictEqual(error._tag, "RedisUrlInvalid")
        assert.notInclude(`${error.message} ${JSON.stringify(error)}`, "pass@")
      }
    }))
})
