import { assert, it } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import * as RateLimiterStoreRedis from "../../../src/layers/redis/RateLimiterStoreRedis.ts"
import { Redis } from "../../../src/layers/redis/Redis.ts"
import { Cost, RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import { algorithms, policyOf } from "../../laws/ratelimit/Histories.ts"
import * as FakeRedis from "../../support/FakeRedis.ts"
import { client, describeWithRedis, patient, start, untilConnected } from "../../support/Redis.ts"

const one = Cost.make(1)

/** A store with a connection of its own. */
const open = Effect.fnUntraced(function*(url: Redacted.Redacted, prefix?: string) {
  // A machine that is busy with other tests is no reason for another outcome here
  const redis = yield* client({ url, ...patient })
  yield* untilConnected(redis)
  const context = yield* Layer.build(
    Layer.provide(RateLimiterStoreRedis.layer({ prefix }), Layer.succeed(Redis, redis))
  )
  return { redis, store: Context.get(context, RateLimiterStore) }
})

describeWithRedis("the store of rate limits in Redis", () => {
  it.live("what is asked in one turn goes as one script, and each call is answered for itself", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { store } = yield* open(server.url)
      const policy = policyOf({ limit: 10, algorithm: "fixed-window", window: "1 day" })
      const take = (key: string) => store.take([{ policy, key, cost: one }])
      // The first one brings the script
      yield* take("first")
      yield* server.tell("CONFIG RESETSTAT")
      const outcomes = yield* Effect.forEach(Array.from({ length: 30 }), (_, index) => take(`${index % 2}`), {
        concurrency: "unbounded"
      })
      assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Taken").length, 20)
      assert.match(yield* server.tell("INFO commandstats"), /cmdstat_evalsha:calls=1,/)
    }).pipe(Effect.scoped))

  it.live("law 7: a refusal leaves the key and its time to live as they are", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { redis, store } = yield* open(server.url, "ttl")
      for (const algorithm of algorithms) {
        const policy = policyOf({ name: algorithm, limit: 2, algorithm, window: "1 hour" })
        const take = store.take([{ policy, key: "k", cost: Cost.make(2) }])
        const key = `{ttl}:${algorithm}:k`
        const look = Effect.forEach([["PEXPIRETIME", key], ["DUMP", key]], redis.send)
        assert.strictEqual((yield* take)._tag, "Taken")
        const before = yield* look
        assert.isAbove(Number(before[0]), 0)
        assert.strictEqual((yield* take)._tag, "NotTaken")
        yield* store.inspect([{ policy, key: "k" }])
        assert.deepStrictEqual(yield* look, before)
      }
    }).pipe(Effect.scoped))

  it.live("law 9: nothing is left of keys that were not used for a while", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { redis, store } = yield* open(server.url)
      const demands = algorithms.map((algorithm) => ({
        policy: policyOf({ name: algorithm, limit: 5, algorithm, window: 50 }),
        key: "k",
        cost: one
      }))
      yield* store.take(demands)
      yield* redis.send(["DBSIZE"]).pipe(
        Effect.repeat({ until: (size) => size === 0, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("60 seconds")
      )
      // All had been there, however soon some of them went
      assert.match(
        String(yield* redis.send(["INFO", "stats"])),
        new RegExp(`^expired_keys:${algorithms.length}\\r?$`, "m")
      )
    }).pipe(Effect.scoped))

  it.live(
    "law 9: a log holds no more than twice what is in its window, however long it is used",
    () =>
      Effect.gen(function*() {
        const server = yield* start()
        const { redis, store } = yield* open(server.url)
        const policy = policyOf({ limit: 1_000, algorithm: "sliding-window", window: 150 })
        const demand = { policy, key: "k", cost: one }
        let largest = 0
        for (let n = 0; n < 1_500; n++) {
          yield* store.take([demand])
          largest = Math.max(largest, Number(yield* redis.send(["STRLEN", "{maas:limits}:test:k"])))
        }
        // An entry for each millisecond of the window, as many that have left it, and the one that is added
        assert.isAtMost(largest, 64 + 12 * (2 * 150 + 1))
      }).pipe(Effect.scoped)
  )

  it.live("a key is forgotten when an operator says so, and stores with prefixes of their own share nothing", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { store } = yield* open(server.url)
      const other = yield* open(server.url, "other")
      const policy = policyOf({ limit: 1, algorithm: "token-bucket", window: "1 hour" })
      const demand = { policy, key: "k", cost: one }
      const tags = Effect.forEach(
        [store.take([demand]), store.take([demand]), other.store.take([demand])],
        (take) => Effect.map(take, ({ _tag }) => _tag)
      )
      assert.deepStrictEqual(yield* tags, ["Taken", "NotTaken", "Taken"])
      yield* store.forget(policy, "k")
      assert.deepStrictEqual(yield* tags, ["Taken", "NotTaken", "NotTaken"])
    }).pipe(Effect.scoped))

  it.live("a full server refuses, which is a lost store and not a permit", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { redis, store } = yield* open(server.url)
      const policy = policyOf({ limit: 5 })
      yield* redis.send(["CONFIG", "SET", "maxmemory", "1"])
      const error = yield* Effect.flip(store.take([{ policy, key: "k", cost: one }]))
      assert.strictEqual(error._tag, "RateLimiterStoreLost")
      yield* redis.send(["CONFIG", "SET", "maxmemory", "0"])
      assert.strictEqual((yield* store.take([{ policy, key: "k", cost: one }]))._tag, "Taken")
    }).pipe(Effect.scoped))

  const nonsense = {
    "no list": "+OK\r\n",
    "nothing": "_\r\n",
    "a list of texts": "*3\r\n$1\r\n1\r\n$1\r\n1\r\n$1\r\n1\r\n",
    "numbers below zero": "*3\r\n:1\r\n:1\r\n:-1\r\n",
    "too few numbers": "*2\r\n:1\r\n:1\r\n",
    "too many numbers": "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
    "fractions": "*3\r\n,1.5\r\n:1\r\n:1\r\n",
    "more owed than there is": "*3\r\n:1\r\n:9007199254740991\r\n:1\r\n",
    "a time long ago": "*3\r\n:1700000000000\r\n:1\r\n:1\r\n",
    "an error": "-ERR what\r\n"
  }
  it.live.each(Object.entries(nonsense))("answered with %s, the store is lost", ([, said]) =>
    Effect.gen(function*() {
      const fake = yield* FakeRedis.start({ answer: () => said })
      const { store } = yield* open(Redacted.make(`redis://127.0.0.1:${fake.port}`))
      const error = yield* Effect.flip(store.take([{ policy: policyOf({}), key: "k", cost: one }]))
      assert.strictEqual(error._tag, "RateLimiterStoreLost")
    }).pipe(Effect.scoped))
})
