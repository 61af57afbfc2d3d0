/** Limits counted in Redis by several processes, and what happens to them when Redis does not do as it should. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer, Redacted, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { execFile } from "node:child_process"
import { join } from "node:path"
import * as RateLimiterStoreRedis from "../../src/layers/redis/RateLimiterStoreRedis.ts"
import { Redis } from "../../src/layers/redis/Redis.ts"
import type { RedisOptions } from "../../src/layers/redis/Redis.ts"
import type { OnStoreLost } from "../../src/resilience/ratelimit/Policy.ts"
import { RateLimiter } from "../../src/resilience/RateLimiter.ts"
import { algorithms, policyOf } from "../laws/ratelimit/Histories.ts"
import * as FakeRedis from "../support/FakeRedis.ts"
import { client, describeWithRedis, start, untilConnected } from "../support/Redis.ts"

/** A replica: a limiter with a connection of its own. */
const replica = Effect.fnUntraced(function*(options: RedisOptions) {
  const redis = yield* client(options)
  const limiter = yield* Layer.build(
    RateLimiter.layer().pipe(
      Layer.provide(RateLimiterStoreRedis.layer()),
      Layer.provide(Layer.succeed(Redis, redis))
    )
  )
  return { redis, ...Context.get(limiter, RateLimiter) }
})

const Granted = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Array(Schema.String)))

const program = join(import.meta.dirname, "limiterProcess.ts")

/** How much of each limit a process of its own was granted. */
const takeInProcess = (url: Redacted.Redacted, attempts: number, limit: number) =>
  Effect.callback<string>((resume) => {
    const child = execFile(
      process.execPath,
      [program, Redacted.value(url), `${attempts}`, `${limit}`],
      (error, stdout) => resume(error === null ? Effect.succeed(stdout.slice(stdout.indexOf("{"))) : Effect.die(error))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(Effect.flatMap((text) => Effect.orDie(Schema.decodeEffect(Granted)(text))))

describeWithRedis("rate limits in Redis", () => {
  it.live("law 12: four processes together are granted exactly what one may", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const granted = yield* Effect.forEach([1, 2, 3, 4], () => takeInProcess(server.url, 1_200, 500), {
        concurrency: "unbounded"
      })
      for (const algorithm of algorithms) {
        const each = granted.map((one) => one[algorithm]?.length ?? 0)
        assert.strictEqual(each.reduce((all, one) => all + one, 0), 500, `${algorithm}: ${each.join(" + ")}`)
      }
    }).pipe(Effect.scoped))

  const faults: ReadonlyArray<OnStoreLost> = ["failOpen", "failClosed", "local"]
  it.live(
    "law 13: Redis killed, halted and flushed under load keeps nobody waiting, and is used again after",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const { redis, tryAcquire } = yield* replica({ url: server.url })
        yield* untilConnected(redis)
        const policies = faults.map((onStoreLost) =>
          policyOf({ name: onStoreLost, limit: 1_000_000, localLimit: 50, window: "1 hour", onStoreLost })
        )
        let seen = new Map<string, number>()
        const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
        // Each call is answered; what is measured is only that it is, in less time than any test would wait
        const load = Effect.forEach(policies, (policy) =>
          tryAcquire({ policy, key: "k" }).pipe(
            Effect.timeout("60 seconds"),
            Effect.map((decision) =>
              count(`${policy.name} ${decision._tag === "Allowed" ? decision.by : decision.reason}`)
            ),
            Effect.repeat(Schedule.spaced("2 millis"))
          ), { concurrency: "unbounded" })
        const loads = yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.forkChild(load))
        /** Waits until all of these were seen from now on, and the load still runs. */
        const until = (...wanted: ReadonlyArray<string>) =>
          Effect.suspend(() => {
            seen = new Map()
            return Effect.sync(() => wanted.every((what) => seen.has(what))).pipe(
              Effect.repeat({ until: (all) => all, schedule: Schedule.spaced("10 millis") }),
              Effect.timeout("60 seconds"),
              Effect.tapError(() => Effect.sync(() => assert.fail(`${wanted.join()}: ${JSON.stringify([...seen])}`)))
            )
          })
        const found = until("failOpen store", "failClosed store", "local store")
        const lost = until("failOpen nothing", "failClosed StoreLost", "local LimitReached")
        yield* found
        for (const [away, back] of [[server.kill, server.restart], [server.stop, server.cont]] as const) {
          yield* away
          yield* lost
          yield* back
          yield* found
        }
        yield* server.flush
        yield* found
        for (const fiber of loads) assert.isUndefined(fiber.pollUnsafe())
        yield* Fiber.interruptAll(loads)
      }).pipe(Effect.scoped)
  )
})

describe("rate limits in a Redis that misbehaves", () => {
  const now = Clock.currentTimeMillis

  it.effect("law 13: a call waits for its time limit once, and then a second for nobody", () =>
    Effect.gen(function*() {
      const fake = yield* FakeRedis.start({ answer: () => undefined })
      const url = Redacted.make(`redis://127.0.0.1:${fake.port}`)
      const { redis, tryAcquire } = yield* replica({ url, hungAfter: "1 minute" })
      yield* TestClock.withLive(untilConnected(redis))
      const policy = policyOf({ limit: 100, localLimit: 3, window: "1 hour" })
      const first = yield* Effect.forkChild(tryAcquire({ policy, key: "k" }), { startImmediately: true })
      // Its time begins when it is sent.
      yield* fake.untilReceived(1)
      yield* TestClock.adjust(99)
      assert.isUndefined(first.pollUnsafe())
      yield* TestClock.adjust(1)
      const decision = yield* Fiber.join(first)
      assert(decision._tag === "Allowed" && decision.by === "local")

      const asked = yield* now
      const next = yield* tryAcquire({ policy, key: "k" })
      assert(next._tag === "Allowed" && next.by === "local")
      assert.strictEqual(yield* now, asked)

      yield* TestClock.adjust("1 second")
      const again = yield* Effect.forkChild(tryAcquire({ policy, key: "k" }), { startImmediately: true })
      // Only one call finds out; the others go on
      const other = yield* tryAcquire({ policy, key: "k" })
      assert(other._tag === "Allowed" && other.by === "local")
      assert.isUndefined(again.pollUnsafe())
      yield* fake.untilReceived(2)
      yield* TestClock.adjust(100)
      assert.strictEqual((yield* Fiber.join(again))._tag, "Denied")
    }).pipe(Effect.scoped))

  it.effect(
    "law 13: answers that come too late are not taken, and those in time are again",
    () =>
      Effect.gen(function*() {
        let isLate = true
        const held: Array<() => void> = []
        const granted = "*3\r\n:1000\r\n:3600000\r\n:1000\r\n"
        const fake = yield* FakeRedis.start({
          answer: (_, socket) => {
            if (!isLate) return granted
            held.push(() => socket.write(granted))
            return undefined
          }
        })
        const url = Redacted.make(`redis://127.0.0.1:${fake.port}`)
        const { redis, tryAcquire } = yield* replica({ url, hungAfter: "1 minute" })
        yield* TestClock.withLive(untilConnected(redis))
        const policy = policyOf({ limit: 10, window: "1 hour", onStoreLost: "failClosed" })
        const late = yield* Effect.forkChild(tryAcquire({ policy, key: "k" }), { startImmediately: true })
        yield* fake.untilReceived(1)
        yield* TestClock.adjust(100)
        const decision = yield* Fiber.join(late)
        assert(decision._tag === "Denied" && decision.reason === "StoreLost")
        isLate = false
        for (const answer of held) answer()
        yield* TestClock.adjust("1 second")
        const inTime = yield* Effect.forkChild(tryAcquire({ policy, key: "k" }), { startImmediately: true })
        const allowed = yield* TestClock.withLive(Fiber.join(inTime))
        assert(allowed._tag === "Allowed" && allowed.by === "store")
        assert.strictEqual(allowed.quotas[0]?.remaining, 9)
      }).pipe(Effect.scoped)
  )
})
