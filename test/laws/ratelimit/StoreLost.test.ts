import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Ref, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import { RateLimiter } from "../../../src/resilience/RateLimiter.ts"
import { Cost, RateLimiterStore, RateLimiterStoreLost } from "../../../src/resilience/RateLimiterStore.ts"
import * as RateLimiterStoreMemory from "../../../src/resilience/RateLimiterStoreMemory.ts"
import { algorithms, between, policyOf } from "./Histories.ts"
import { few } from "./Limiters.ts"

describe("without its store", () => {
  const lostStore = (isLost: Ref.Ref<boolean>, asked: Ref.Ref<number>) =>
    Layer.effect(
      RateLimiterStore,
      Effect.map(RateLimiterStoreMemory.make(), (store) =>
        RateLimiterStore.of({
          ...store,
          take: (demands) =>
            Effect.gen(function*() {
              yield* Ref.update(asked, (count) => count + 1)
              return (yield* Ref.get(isLost)) ? yield* new RateLimiterStoreLost({}) : yield* store.take(demands)
            })
        }))
    )

  it.effect.prop("law 13: fails open, closed or local as the policy says, local within replicas x local limit", [
    between(1, 4),
    between(1, 10),
    Schema.Literals(["failOpen", "failClosed", "local"]),
    Schema.Literals(algorithms)
  ], ([replicas, localLimit, onStoreLost, algorithm]) =>
    Effect.gen(function*() {
      const isLost = yield* Ref.make(true)
      const asked = yield* Ref.make(0)
      const policy = policyOf({ limit: 10, localLimit, window: "1 minute", onStoreLost, algorithm })
      const decisions = yield* Effect.forEach(Array.from({ length: replicas }), () =>
        Effect.gen(function*() {
          const { tryAcquire } = yield* RateLimiter
          return yield* Effect.replicateEffect(tryAcquire({ policy, key: "k" }), 20)
        }).pipe(Effect.provide(RateLimiter.layer().pipe(Layer.provide(lostStore(isLost, asked))), { local: true })))
      const all = decisions.flat()
      const allowed = all.filter(({ _tag }) => _tag === "Allowed")
      const expected = { failOpen: 20, failClosed: 0, local: localLimit }[onStoreLost]
      assert.strictEqual(allowed.length, replicas * expected)
      for (const decision of all) {
        if (decision._tag === "Allowed") assert.strictEqual(decision.by, onStoreLost === "local" ? "local" : "nothing")
        else assert.strictEqual(decision.reason, onStoreLost === "local" ? "LimitReached" : "StoreLost")
      }
      // Each replica asked once, and then left the store alone
      assert.strictEqual(yield* Ref.get(asked), replicas)
    }), few)

  it.effect("law 13: the strictest policy of a call decides, and a store that is back is used again", () =>
    Effect.gen(function*() {
      const isLost = yield* Ref.make(false)
      const asked = yield* Ref.make(0)
      const open = policyOf({ name: "open", limit: 2, onStoreLost: "failOpen" })
      const local = policyOf({ name: "local", limit: 3, localLimit: 1, onStoreLost: "local" })
      const closed = policyOf({ name: "closed", limit: 9, onStoreLost: "failClosed" })
      yield* Effect.gen(function*() {
        const { events, tryAcquire } = yield* RateLimiter
        const seen = yield* Ref.make<ReadonlyArray<string>>([])
        yield* events.pipe(
          Stream.runForEach(({ _tag }) => Ref.update(seen, (all) => [...all, _tag])),
          Effect.forkScoped({ startImmediately: true })
        )
        const limits = [{ policy: open, key: "k" }, { policy: local, key: "k" }]
        const counted = yield* tryAcquire(limits)
        assert(counted._tag === "Allowed" && counted.by === "store")

        yield* Ref.set(isLost, true)
        const here = yield* tryAcquire(limits)
        assert(here._tag === "Allowed" && here.by === "local")
        assert.deepStrictEqual(here.quotas.map(({ policy, quota }) => [policy, quota]), [["local", 1]])
        const over = yield* tryAcquire(limits)
        assert(over._tag === "Denied" && over.reason === "LimitReached" && over.policy === "local")
        const refused = yield* tryAcquire([...limits, { policy: closed, key: "k" }])
        assert(refused._tag === "Denied" && refused.reason === "StoreLost" && refused.policy === "closed")
        assert.isAtLeast(refused.retryAfterMillis, 1)
        // More than this process may admit on its own
        const much = yield* tryAcquire({ policy: local, key: "other", cost: Cost.make(3) })
        assert(much._tag === "Denied" && much.reason === "StoreLost")

        yield* Ref.set(isLost, false)
        const before = yield* Ref.get(asked)
        yield* TestClock.adjust("1 second")
        const back = yield* tryAcquire({ policy: local, key: "k" })
        assert(back._tag === "Allowed" && back.by === "store")
        assert.strictEqual(yield* Ref.get(asked), before + 1)
        yield* TestClock.adjust(1)
        assert.deepStrictEqual((yield* Ref.get(seen)).filter((tag) => tag.startsWith("Store")), [
          "StoreLost",
          "StoreFound"
        ])
      }).pipe(Effect.provide(RateLimiter.layer().pipe(Layer.provide(lostStore(isLost, asked)))), Effect.scoped)
    }))
})
