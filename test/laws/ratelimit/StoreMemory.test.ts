import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, Layer, Metric, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Core from "../../../src/resilience/ratelimit/Core.ts"
import type { LimitState } from "../../../src/resilience/ratelimit/Core.ts"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import { Cost, RateLimiterStore } from "../../../src/resilience/RateLimiterStore.ts"
import type { Demand, Outcome } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import { changeLaws } from "./ChangeLaws.ts"
import { decisionLaws } from "./DecisionLaws.ts"
import { algorithms, between, policies, policyOf, runs } from "./Histories.ts"
import { storeLaws } from "./StoreLaws.ts"
import * as TimedStore from "./TimedStore.ts"

const keys = ["a", "b", "c", "d"]
const KeyedCall = Schema.Struct({
  key: Schema.Literals(keys),
  gap: Schema.Literals([0, 0, 1, 3, 9, 40, 130, 400]),
  cost: between(1, 6)
})
const keyedCalls = Arbitrary.array(Arbitrary.schema(KeyedCall), { minLength: 1, maxLength: 60 })

const keysHeld = Metric.gauge("rate_limiter_keys", { description: "Keys held in memory" })

const one = Cost.make(1)
const resultOf = (outcome: Outcome) =>
  outcome._tag === "Taken"
    ? { taken: true, left: outcome.grants.map(({ remaining, resetMillis }) => ({ remaining, resetMillis })) }
    : {
      taken: false,
      left: outcome.left.map(({ remaining, resetMillis }) => ({ remaining, resetMillis })),
      retryAfterMillis: outcome.retryAfterMillis
    }

describe("memory store", () => {
  const player = Layer.provide(TimedStore.player, TimedStore.memory)
  decisionLaws("decisions", player)
  changeLaws("other clocks and other limits", player)
  storeLaws("as a whole", TimedStore.memory)

  it.prop("law 9: with policies of one name that change, forgetting never mints a permit", [
    Schema.Struct({ windows: Schema.NonEmptyArray(Schema.Literals([5, 50, 500])), limit: between(1, 5) }),
    keyedCalls
  ], ([{ limit, windows }, history]) => {
    const store = new MemoryStore(1_000)
    const alone = new Map<string, LimitState | undefined>()
    let now = 1_000
    history.forEach(({ gap, key }, index) => {
      now += gap
      const policy = policyOf({ limit, window: windows[index % windows.length] ?? 5, algorithm: "token-bucket" })
      const { decision, state } = Core.decide(policy, alone.get(key), 1, now)
      alone.set(key, state)
      assert.strictEqual(
        store.take([{ policy, key, cost: one }], now)._tag === "Taken",
        decision._tag === "Admitted"
      )
    })
  }, runs)

  it.prop("law 9: memory holds the keys of the last two periods only", [
    policies(algorithms),
    Arbitrary.array(Arbitrary.schema(between(0, 300)), { minLength: 1, maxLength: 60 })
  ], ([policy, gaps]) => {
    const store = new MemoryStore(1_000)
    const times: Array<number> = []
    let now = 1_000
    gaps.forEach((gap, index) => {
      now += gap
      times.push(now)
      store.take([{ policy, key: `key-${index}`, cost: one }], now)
      const recent = times.filter((time) => time > now - 2 * policy.forgetsAfterMillis).length
      assert.isAtMost(store.size, recent)
    })
    store.sweep(now + policy.forgetsAfterMillis)
    store.sweep(now + 2 * policy.forgetsAfterMillis)
    assert.strictEqual(store.size, 0)
  }, runs)

  it.prop("law 9: past the most keys, new ones are limited together; those that are held keep their own", [
    policies(algorithms),
    Arbitrary.array(Arbitrary.schema(between(0, 40)), { minLength: 30, maxLength: 80 })
  ], ([policy, numbers]) => {
    const store = new MemoryStore(3)
    const limitless = new MemoryStore(1_000_000)
    const full = Cost.make(policy.capacity)
    const holders = ["x", "y", "z"]
    for (const key of holders) {
      store.take([{ policy, key, cost: one }], 1_000)
      limitless.take([{ policy, key, cost: one }], 1_000)
    }
    for (const number of numbers) {
      const demand = { policy, key: `flood-${number}`, cost: full }
      // Sharing can only refuse more than a state of one's own would
      if (store.take([demand], 1_000)._tag === "Taken") {
        assert.strictEqual(limitless.take([demand], 1_000)._tag, "Taken")
      }
      assert.isAtMost(store.size, 3 + 256)
    }
    for (const key of holders) {
      assert.deepStrictEqual(store.inspect([{ policy, key }], 1_000), limitless.inspect([{ policy, key }], 1_000))
    }
  }, runs)

  it("law 9: a key does not get a second limit by moving out of a shared state", () => {
    const policy = policyOf({ limit: 5, window: 100, algorithm: "sliding-window" })
    const store = new MemoryStore(2)
    const all = Cost.make(5)
    const held = ["first", "second"]
    for (const key of held) assert.strictEqual(store.take([{ policy, key, cost: one }], 1_000)._tag, "Taken")
    assert.strictEqual(store.take([{ policy, key: "late", cost: all }], 1_000)._tag, "Taken")
    // There is room again for a state of its own
    for (const key of held) store.forget(policy, key)
    assert.strictEqual(store.take([{ policy, key: "late", cost: one }], 1_050)._tag, "NotTaken")
    assert.strictEqual(store.take([{ policy, key: "late", cost: all }], 1_100)._tag, "Taken")
  })

  it.prop("law 7: a refused key is forgotten no later than if it had not asked", [policies(algorithms)], ([policy]) => {
    const store = new MemoryStore(1_000)
    const full = Cost.make(policy.capacity)
    store.take([{ policy, key: "a", cost: full }], 1_000)
    const end = 1_000 + 2 * policy.forgetsAfterMillis
    for (let now = 1_000; now < end; now++) {
      if (store.inspect([{ policy, key: "a" }], now)[0]?.remaining !== policy.capacity) {
        assert.strictEqual(store.take([{ policy, key: "a", cost: full }], now)._tag, "NotTaken")
      }
    }
    store.sweep(end)
    assert.strictEqual(store.size, 0)
  }, { arbitrary: { runs: 200 } })

  it.prop("several policies are taken all or none, and what is told is of all of them", [
    Arbitrary.array(policies(algorithms), { minLength: 1, maxLength: 4 }),
    keyedCalls
  ], ([some, history]) => {
    const named = some.map((policy, index) =>
      policyOf({
        name: `p${index}`,
        algorithm: policy.algorithm,
        limit: policy.limit,
        window: policy.windowMillis,
        burst: policy.algorithm.endsWith("bucket") ? policy.capacity : undefined
      })
    )
    const store = new MemoryStore(1_000)
    const alone = new Map<string, LimitState | undefined>()
    let now = 1_000
    for (const { cost, gap, key } of history) {
      now += gap
      const demands = named.map((policy): Demand => ({
        policy,
        key,
        cost: Cost.make(Math.min(cost, policy.capacity))
      }))
      const steps = demands.map(({ cost, policy }) =>
        Core.decide(policy, alone.get(`${policy.name}/${key}`), cost, now)
      )
      const outcome = store.take(demands, now)
      const fits = steps.every(({ decision }) => decision._tag === "Admitted")
      assert.strictEqual(outcome._tag === "Taken", fits)
      if (outcome._tag === "Taken") {
        steps.forEach(({ state }, index) => alone.set(`${named[index]?.name}/${key}`, state))
      } else {
        const waits = steps.map(({ decision }) => decision._tag === "Refused" ? decision.retryAfterMillis : 0)
        assert.strictEqual(outcome.retryAfterMillis, Math.max(...waits))
        assert.strictEqual(waits[outcome.refusedBy], outcome.retryAfterMillis)
        const copy = named.map((policy, index) =>
          Core.decide(
            policy,
            alone.get(`${policy.name}/${key}`),
            demands[index]?.cost ?? 1,
            now + outcome.retryAfterMillis
          )
        )
        assert.isTrue(copy.every(({ decision }) => decision._tag === "Admitted"))
      }
      assert.deepStrictEqual(
        resultOf(outcome).left,
        named.map((policy) => Core.inspect(policy, alone.get(`${policy.name}/${key}`), now))
      )
    }
  }, runs)

  it.effect("memory is given back while nobody calls", () =>
    Effect.gen(function*() {
      const policy = policyOf({ limit: 5, window: "1 second", algorithm: "fixed-window" })
      const store = yield* RateLimiterStore
      yield* Effect.forEach(keys, (key) => store.take([{ policy, key, cost: one }]))
      assert.strictEqual((yield* Metric.value(keysHeld)).value, 4)
      yield* TestClock.adjust("3 minutes")
      assert.strictEqual((yield* Metric.value(keysHeld)).value, 0)
    }).pipe(Effect.provide(RateLimiterStoreMemory.layer())))

  it.effect.prop("law 12: concurrent decisions are those of some order: together no more than one may", [
    policies(algorithms),
    between(2, 30)
  ], ([policy, fibers]) =>
    Effect.gen(function*() {
      const store = yield* RateLimiterStore
      const outcomes = yield* Effect.forEach(
        Array.from({ length: fibers }, (_, index) => index),
        (index) =>
          Effect.andThen(
            index % 2 === 0 ? Effect.yieldNow : Effect.void,
            store.take([{ policy, key: "a", cost: one }])
          ),
        { concurrency: "unbounded" }
      )
      const taken = outcomes.filter(({ _tag }) => _tag === "Taken").length
      assert.strictEqual(taken, Math.min(fibers, policy.capacity))
    }).pipe(Effect.provide(RateLimiterStoreMemory.layer(), { local: true })), { arbitrary: { runs: 200 } })
})
