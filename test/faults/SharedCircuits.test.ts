/** Circuits in Redis: several processes, and what happens when Redis does not do as it should. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Data, Effect, Layer, Metric, Redacted, Schedule, Schema } from "effect"
import { TestClock } from "effect/testing"
import { execFile } from "node:child_process"
import { join } from "node:path"
import * as CircuitStoreRedis from "../../src/layers/redis/CircuitStoreRedis.ts"
import { Redis } from "../../src/layers/redis/Redis.ts"
import type { RedisOptions } from "../../src/layers/redis/Redis.ts"
import type { CircuitOptions } from "../../src/resilience/circuit/CircuitSettings.ts"
import { protect } from "../../src/resilience/CircuitBreaker.ts"
import { CircuitStore } from "../../src/resilience/CircuitStore.ts"
import * as SharedCircuitBreaker from "../../src/resilience/SharedCircuitBreaker.ts"
import { counted } from "../laws/Counted.ts"
import * as FakeRedis from "../support/FakeRedis.ts"
import { client, describeWithRedis, start, untilConnected } from "../support/Redis.ts"
import { sharedOptions } from "./sharedCircuit.ts"

class Broken extends Data.TaggedError("Broken") {}

/** A store of circuits with a connection of its own. */
const storeOf = Effect.fnUntraced(function*(options: RedisOptions, more?: CircuitStoreRedis.CircuitStoreOptions) {
  const redis = yield* client(options)
  const store = yield* Layer.build(
    CircuitStoreRedis.layer(more).pipe(Layer.provide(Layer.succeed(Redis, redis)))
  )
  return { redis, store: Context.get(store, CircuitStore) }
})

const replica = Effect.fnUntraced(function*(url: Redacted.Redacted, options: CircuitOptions = sharedOptions) {
  const { redis, store } = yield* storeOf({ url, commandTimeout: "5 seconds", hungAfter: "10 seconds" })
  yield* untilConnected(redis)
  const made = SharedCircuitBreaker.make({ ...options, retryStoreAfter: "50 millis" })
  return { redis, breaker: yield* Effect.provideService(made, CircuitStore, store) }
})

const Written = Schema.fromJsonString(Schema.Struct({ begun: Schema.Int, refused: Schema.Int }))
const program = join(import.meta.dirname, "circuitProcess.ts")

const callInProcess = (url: Redacted.Redacted, calls: number) =>
  Effect.callback<string>((resume) => {
    const child = execFile(process.execPath, [program, Redacted.value(url), `${calls}`], (error, stdout) => {
      // It kills itself once it has written what it has to say.
      resume(stdout.includes("{") ? Effect.succeed(stdout.slice(stdout.indexOf("{"))) : Effect.die(error))
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  }).pipe(Effect.flatMap((text) => Effect.orDie(Schema.decodeEffect(Written)(text))))

const fails = (breaker: SharedCircuitBreaker.SharedCircuitBreaker) =>
  Effect.exit(protect(Effect.fail(new Broken()), breaker))

const alone = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => Effect.provideService(effect, Metric.MetricRegistry, new Map()))

describeWithRedis("circuits in Redis", () => {
  it.live(
    "law 19, law 21: three processes together make N probes, which lose their places when those are killed",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const { breaker } = yield* replica(server.url)
        yield* fails(breaker)
        const told = yield* Effect.forEach([1, 2, 3], () => callInProcess(server.url, 20), { concurrency: "unbounded" })
        assert.strictEqual(told.reduce((sum, { begun }) => sum + begun, 0), 5, JSON.stringify(told))
        assert.strictEqual(told.reduce((sum, { begun, refused }) => sum + begun + refused, 0), 60)
        const refused = yield* Effect.flip(protect(Effect.void, breaker))
        assert.strictEqual(refused._tag, "CircuitOpen")
        yield* breaker.reset
        yield* protect(Effect.void, breaker)
      }).pipe(Effect.scoped, alone)
  )

  it.live(
    "law 20: after a flush of keys and scripts circuits begin again, and older outcomes count for nothing",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const [{ breaker }, { breaker: other }] = [yield* replica(server.url), yield* replica(server.url)]
        yield* fails(breaker)
        const open = yield* other.snapshot
        assert.strictEqual(open.state, "Open")
        yield* protect(Effect.andThen(server.flush, new Broken()), breaker).pipe(Effect.exit)
        const fresh = yield* other.snapshot
        assert.deepInclude(fresh, { state: "Closed", calls: { calls: 0, failures: 0, slow: 0 } })
        yield* protect(Effect.void, other)
        assert.isAbove((yield* other.snapshot).generation, open.generation)
      }).pipe(Effect.scoped, alone)
  )

  it.live(
    "Redis killed, halted and started again under load: each replica has a circuit of its own meanwhile",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const { redis, store } = yield* storeOf({ url: server.url })
        yield* untilConnected(redis)
        const made = SharedCircuitBreaker.make({ ...sharedOptions, openFor: "1 hour", retryStoreAfter: "50 millis" })
        const breaker = yield* Effect.provideService(made, CircuitStore, store)
        const isUp = Effect.map(counted("circuit_breaker_store_up", "breaker"), (one) => one["shared"])
        let calls = 0
        const call = protect(Effect.sync(() => calls++), breaker).pipe(Effect.timeout("60 seconds"), Effect.orDie)
        const load = yield* Effect.forkChild(Effect.repeat(call, Schedule.spaced("2 millis")))
        const until = (up: number) =>
          isUp.pipe(
            Effect.repeat({ until: (is) => is === up, schedule: Schedule.spaced("10 millis") }),
            Effect.timeout("60 seconds")
          )
        const goesOn = Effect.gen(function*() {
          const before = calls
          yield* Effect.sync(() => calls).pipe(
            Effect.repeat({ until: (now) => now > before + 3, schedule: Schedule.spaced("10 millis") }),
            Effect.timeout("60 seconds")
          )
        })
        yield* until(1)
        for (const [away, back] of [[server.kill, server.restart], [server.stop, server.cont]] as const) {
          yield* away
          yield* until(0)
          yield* goesOn
          yield* back
          yield* until(1)
          yield* goesOn
        }
        assert.isUndefined(load.pollUnsafe())
      }).pipe(Effect.scoped, alone)
  )

  it.live(
    "law 9: no more circuits are kept than it may, none of those that an operator holds gives way, and all expire",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const { redis, store } = yield* storeOf(
          { url: server.url, commandTimeout: "5 seconds", hungAfter: "10 seconds" },
          { maxCircuits: 3, forgetAfter: "1 hour" }
        )
        yield* untilConnected(redis)
        const breaker = yield* Effect.provideService(SharedCircuitBreaker.makeKeyed(sharedOptions), CircuitStore, store)
        yield* breaker.at("held").force("ForcedOpen")
        for (const key of ["a", "b", "c", "d"]) yield* protect(Effect.void, breaker.at(key))
        const kept = (yield* breaker.list).map(({ key }) => key).toSorted()
        assert.lengthOf(kept, 3)
        assert.includeMembers(kept, ["held", "d"])
        assert.include(yield* server.tell("TTL c{maas:circuits}shared:held"), ":-1")
        const [, ttl = ""] = /:(\d+)/.exec(yield* server.tell("TTL c{maas:circuits}shared:d")) ?? []
        assert.isAtMost(Number(ttl), 3_600)
        assert.isAbove(Number(ttl), 3_000)
        yield* breaker.at("held").reset
        assert.notInclude(yield* server.tell("TTL c{maas:circuits}shared:held"), ":-1\r")
      }).pipe(Effect.scoped, alone)
  )
})

describe("circuits in a Redis that answers nonsense", () => {
  for (
    const [what, answer] of [
      ["no list", "+OK\r\n"],
      ["too few numbers", "*1\r\n:1\r\n"],
      ["numbers that mean nothing", `*12\r\n${":9\r\n".repeat(12)}`],
      ["an error", "-OOM command not allowed\r\n"]
    ] as const
  ) {
    it.effect(
      `${what}: the store is lost, and the call goes on with a circuit of its own`,
      () =>
        Effect.gen(function*() {
          const fake = yield* FakeRedis.start({ answer: () => answer })
          const { redis, store } = yield* storeOf({ url: Redacted.make(`redis://127.0.0.1:${fake.port}`) })
          yield* TestClock.withLive(untilConnected(redis))
          const breaker = yield* Effect.provideService(SharedCircuitBreaker.make(sharedOptions), CircuitStore, store)
          assert.strictEqual(yield* protect(Effect.succeed("answer"), breaker), "answer")
          assert.strictEqual((yield* counted("circuit_breaker_store_up", "breaker"))["shared"], 0)
        }).pipe(Effect.scoped, Effect.provideService(Metric.MetricRegistry, new Map()))
    )
  }
})
