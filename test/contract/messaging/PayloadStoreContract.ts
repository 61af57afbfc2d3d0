/** What every adapter of `PayloadStore` keeps. */
import { assert, layer as shareLayer } from "@effect/vitest"
import { DateTime, Effect, Stream } from "effect"
import type { Layer } from "effect"
import { createHash } from "node:crypto"
import { locationOf, PayloadStore } from "../../../src/messaging/PayloadStore.ts"
import type { PayloadLocation } from "../../../src/messaging/PayloadStore.ts"

const bytesOf = (text: string) => new TextEncoder().encode(text)

export const locationOfText = (text: string): Effect.Effect<PayloadLocation> =>
  Effect.map(DateTime.now, (now) => locationOf(createHash("sha256").update(text).digest("hex"), now))

export const putText = Effect.fnUntraced(function*(text: string) {
  const location = yield* locationOfText(text)
  yield* PayloadStore.use((store) => store.put(location, bytesOf(text)))
  return location
})

const textAt = (location: PayloadLocation, limit = 1_000) =>
  PayloadStore.use((store) =>
    Effect.map(store.get(location, limit), (bytes) => bytes === undefined ? undefined : new TextDecoder().decode(bytes))
  )

/** Everything, as nothing is younger than a minute from now. */
const all = PayloadStore.use((store) => Stream.runCollect(store.olderThan(-60_000)))

export const payloadStoreContract = <E>(name: string, adapter: Layer.Layer<PayloadStore, E>) =>
  shareLayer(adapter, { excludeTestServices: true })(`PayloadStore contract: ${name}`, (it) => {
    it.effect("gives back what was put, or its beginning, and nothing of what was not", () =>
      Effect.gen(function*() {
        const location = yield* putText("a payload")
        assert.strictEqual(yield* textAt(location), "a payload")
        assert.strictEqual(yield* textAt(location, 3), "a p")
        assert.isUndefined(yield* textAt(yield* locationOfText("never put")))
        yield* putText("a payload")
        assert.strictEqual(yield* textAt(location), "a payload")
        const empty = yield* putText("")
        assert.strictEqual(yield* textAt(empty), "")
      }))

    it.effect("many put the same at once", () =>
      Effect.gen(function*() {
        const locations = yield* Effect.all(Array.from({ length: 8 }, () => putText("x".repeat(100_000))), {
          concurrency: "unbounded"
        })
        const [location] = locations
        assert.strictEqual(new Set(locations).size, 1)
        assert.strictEqual((yield* textAt(location ?? assert.fail("none"), 200_000))?.length, 100_000)
        assert.lengthOf((yield* all).filter((one) => one === location), 1)
      }))

    it.effect("lists what is older, and removes", () =>
      Effect.gen(function*() {
        const store = yield* PayloadStore
        const [kept, gone] = yield* Effect.all([putText("kept"), putText("gone")])
        assert.includeMembers([...yield* all], [kept, gone])
        assert.lengthOf(yield* Stream.runCollect(store.olderThan(60_000)), 0)
        yield* store.remove(gone)
        yield* store.remove(gone)
        yield* store.renew(gone)
        assert.isUndefined(yield* textAt(gone))
        assert.notInclude([...yield* all], gone)
        assert.strictEqual(yield* textAt(kept), "kept")
      }))
  })
