import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, FileSystem, Layer, Stream } from "effect"
import * as PayloadStoreFolder from "../../../src/layers/storage/PayloadStoreFolder.ts"
import { PayloadStore } from "../../../src/messaging/PayloadStore.ts"
import { payloadStoreContract, putText } from "../../contract/messaging/PayloadStoreContract.ts"
import { services, temporaryFolder } from "./support.ts"

payloadStoreContract(
  "folder",
  Layer.unwrap(Effect.map(temporaryFolder, (directory) => PayloadStoreFolder.layer({ directory }))).pipe(
    Layer.provide(services)
  )
)

const hour = 3_600_000
const day = 24 * hour

/** Runs `use` on a store on a folder of its own that nobody has made yet. */
const onStore = <A, E, R>(use: (directory: string) => Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const directory = `${yield* temporaryFolder}/payloads`
    return yield* Effect.provide(use(directory), PayloadStoreFolder.layer({ directory }), { local: true })
  }).pipe(Effect.provide(services))

const age = Effect.fnUntraced(function*(path: string, millis: number) {
  const fs = yield* FileSystem.FileSystem
  const seconds = ((yield* Clock.currentTimeMillis) - millis) / 1_000
  yield* fs.utimes(path, seconds, seconds)
})

const olderThan = (millis: number) => PayloadStore.use((store) => Stream.runCollect(store.olderThan(millis)))

describe("PayloadStoreFolder", () => {
  it.live("makes its folder with the first payload, for its user alone, and leaves no other file", () =>
    onStore((directory) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        assert.isFalse(yield* fs.exists(directory))
        assert.lengthOf(yield* olderThan(0), 0)
        const location = yield* putText("a payload")
        assert.strictEqual((yield* fs.stat(`${directory}/${location}`)).mode & 0o777, 0o600)
        assert.strictEqual((yield* fs.stat(directory)).mode & 0o777, 0o700)
        assert.lengthOf(yield* fs.readDirectory(directory, { recursive: true }), 2)
      })
    ))

  it.live("ages count from when a payload was put or renewed last", () =>
    onStore((directory) =>
      Effect.gen(function*() {
        const store = yield* PayloadStore
        const [first, second, third] = yield* Effect.all([putText("1"), putText("2"), putText("3")])
        for (const location of [first, second, third]) yield* age(`${directory}/${location}`, 10 * day)
        assert.sameMembers([...yield* olderThan(9 * day)], [first, second, third])
        yield* store.renew(first)
        yield* putText("2")
        assert.deepStrictEqual([...yield* olderThan(hour)], [third])
      })
    ))

  it.live("what a crash has left half written goes, and the folders of days that are over", () =>
    onStore((directory) =>
      Effect.gen(function*() {
        const fs = yield* FileSystem.FileSystem
        const location = yield* putText("a payload")
        const today = location.slice(0, 10)
        yield* fs.writeFileString(`${directory}/${today}/.half`, "half")
        yield* fs.makeDirectory(`${directory}/2020-01-01`)
        yield* fs.writeFileString(`${directory}/2020-01-01/.half`, "half")
        yield* fs.makeDirectory(`${directory}/notes`)
        yield* age(`${directory}/2020-01-01/.half`, 3 * day)
        yield* olderThan(day)
        assert.sameMembers(yield* fs.readDirectory(`${directory}/${today}`), [".half", location.slice(11)])
        assert.deepStrictEqual(yield* fs.readDirectory(`${directory}/2020-01-01`), [])
        yield* age(`${directory}/2020-01-01`, 3 * day)
        yield* olderThan(day)
        assert.sameMembers(yield* fs.readDirectory(directory), ["notes", today])
      })
    ))

  it.live("a folder that can't be used is the port's own error", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const file = `${yield* temporaryFolder}/file`
      yield* fs.writeFileString(file, "no folder")
      const error = yield* Effect.flip(putText("a payload")).pipe(
        Effect.provide(PayloadStoreFolder.layer({ directory: file }), { local: true })
      )
      assert.deepInclude(error, { _tag: "PayloadStoreUnavailable", operation: "put" })
    }).pipe(Effect.provide(services)))
})
