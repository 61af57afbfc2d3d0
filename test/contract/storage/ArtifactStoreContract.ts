import { assert, describe, layer } from "@effect/vitest"
import { Arbitrary, Effect, FileSystem, Schema, Stream } from "effect"
import type { Layer } from "effect"
import { createHash } from "node:crypto"
import { Sha256 } from "../../../src/domain/model/Artifact.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"

class UploadBroke extends Schema.TaggedError<UploadBroke>()("UploadBroke", {}) {}

const sha256Of = (bytes: Uint8Array) => Sha256.make(createHash("sha256").update(bytes).digest("hex"))

/** Bytes that differ from one `seed` to the next and repeat only after long. */
const bytesOf = (seed: number, length: number): Uint8Array => {
  let state = seed >>> 0
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state >>> 24
  })
}

const Seed = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4_294_967_295 }))
const ChunkSize = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 150_000 }))
/** An upload: chunks of any size, empty ones too. */
const Chunks = Arbitrary.all({
  seed: Arbitrary.schema(Seed),
  sizes: Arbitrary.array(Arbitrary.schema(ChunkSize), { maxLength: 6 })
}).pipe(Arbitrary.map(({ seed, sizes }) => sizes.map((size, index) => bytesOf(seed + index, size))))

const large = { maxBytes: 100_000_000 }
const stageBytes = (bytes: Uint8Array) => ArtifactStore.use((store) => store.stage(Stream.make(bytes), large))

/** Stores the bytes for good and answers with their address. */
const store = (bytes: Uint8Array) =>
  Effect.scoped(Effect.gen(function*() {
    const { artifact, publish } = yield* stageBytes(bytes)
    yield* publish
    return artifact.sha256
  }))

/** What `read` gives, put together; `undefined` when it gives nothing. */
const readAll = Effect.fnUntraced(function*(sha256: Sha256, range?: { readonly start: number; readonly end: number }) {
  const stream = yield* ArtifactStore.use((store) => store.read(sha256, range))
  return stream === undefined ? undefined : Buffer.concat(yield* Stream.runCollect(stream))
})

const allAddresses = ArtifactStore.use((store) => Stream.runCollect(store.olderThan(-60_000)))

const same = (actual: Uint8Array | undefined, expected: Uint8Array) =>
  assert.isTrue(actual !== undefined && Buffer.compare(actual, expected) === 0, "the bytes differ")

/**
 * What every `ArtifactStore` promises. The tests run one after the other on one store, each with bytes of its own, on
 * the real clock.
 */
export const artifactStoreContract = <E>(
  name: string,
  adapter: Layer.Layer<ArtifactStore | FileSystem.FileSystem, E>
) =>
  describe(`ArtifactStore contract: ${name}`, () => {
    layer(adapter, { excludeTestServices: true })((it) => {
      it.effect.prop(
        "gives back the bytes that came in, however they were cut",
        { chunks: Chunks },
        ({ chunks }) =>
          Effect.gen(function*() {
            const whole = Buffer.concat(chunks)
            const { artifact, publish } = yield* ArtifactStore.use((store) =>
              store.stage(Stream.fromIterable(chunks).pipe(Stream.rechunk(1)), large)
            )
            assert.strictEqual(artifact.sha256, sha256Of(whole))
            assert.strictEqual(artifact.size, whole.byteLength)
            yield* publish
            same(yield* readAll(artifact.sha256), whole)
          }).pipe(Effect.scoped),
        { arbitrary: { runs: 40 } }
      )

      const length = 200_000
      const Offset = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: length + 10 }))
      it.effect.prop("reads a range as a slice of the bytes", { start: Offset, end: Offset }, ({ start, end }) =>
        Effect.gen(function*() {
          const bytes = bytesOf(1, length)
          const sha256 = sha256Of(bytes)
          if ((yield* readAll(sha256, { start: 0, end: 1 })) === undefined) {
            yield* store(bytes)
          }
          same(yield* readAll(sha256, { start, end }), bytes.slice(start, end))
        }))

      it.effect("answers nothing for an address that nothing has", () =>
        Effect.gen(function*() {
          const artifacts = yield* ArtifactStore
          const sha256 = sha256Of(bytesOf(2, 10))
          assert.isUndefined(yield* artifacts.read(sha256))
          assert.isUndefined(yield* artifacts.localFile(sha256))
          yield* artifacts.remove(sha256)
        }))

      it.effect("gives bytes their address when they are published, not before", () =>
        Effect.gen(function*() {
          const bytes = bytesOf(3, 1_000)
          const { artifact, publish } = yield* stageBytes(bytes)
          assert.isUndefined(yield* readAll(artifact.sha256))
          assert.notInclude(yield* allAddresses, artifact.sha256)
          yield* publish
          yield* publish
          same(yield* readAll(artifact.sha256), bytes)
        }).pipe(Effect.scoped))

      it.effect("drops bytes that were not published when the scope closes, and keeps those that were", () =>
        Effect.gen(function*() {
          const bytes = bytesOf(4, 1_000)
          const { sha256 } = yield* Effect.scoped(Effect.map(stageBytes(bytes), ({ artifact }) =>
            artifact))
          assert.isUndefined(yield* readAll(sha256))
          yield* store(bytes)
          same(yield* readAll(sha256), bytes)
        }))

      it.effect("takes as many bytes as the limit and refuses one more, without asking for the rest", () =>
        Effect.gen(function*() {
          const artifacts = yield* ArtifactStore
          let asked = 0
          const endless = Stream.fromEffectRepeat(Effect.sync(() =>
            bytesOf(5 + asked++, 1_000)
          ))
          const { artifact } = yield* artifacts.stage(Stream.take(endless, 10), { maxBytes: 10_000 })
          assert.strictEqual(artifact.size, 10_000)
          asked = 0
          const error = yield* Effect.flip(artifacts.stage(endless, { maxBytes: 9_999 }))
          assert.deepInclude(error, { _tag: "ArtifactTooLarge", limitBytes: 9_999 })
          assert.isAtMost(asked, 11)
        }).pipe(Effect.scoped))

      it.effect("hands on the error of a broken upload as it is", () =>
        Effect.gen(function*() {
          const artifacts = yield* ArtifactStore
          const broken = Stream.concat(Stream.make(bytesOf(6, 100)), Stream.fail(new UploadBroke()))
          const error = yield* Effect.flip(artifacts.stage(broken, large))
          assert.instanceOf(error, UploadBroke)
        }).pipe(Effect.scoped))

      it.effect("keeps bytes once, also when they are uploaded by several at once", () =>
        Effect.gen(function*() {
          const bytes = bytesOf(7, 300_000)
          const addresses = yield* Effect.all(
            Array.from({ length: 4 }, () => store(bytes)),
            { concurrency: 4 }
          )
          assert.deepStrictEqual(new Set(addresses), new Set([sha256Of(bytes)]))
          same(yield* readAll(sha256Of(bytes)), bytes)
          assert.strictEqual((yield* allAddresses).filter((address) => address === sha256Of(bytes)).length, 1)
        }))

      it.effect("lets who reads go on while the same bytes are published again", () =>
        Effect.gen(function*() {
          const artifacts = yield* ArtifactStore
          const bytes = bytesOf(8, 400_000)
          const sha256 = yield* store(bytes)
          const stream = yield* artifacts.read(sha256)
          assert.isDefined(stream)
          const parts = yield* stream.pipe(
            Stream.mapEffect((part, index) => index === 1 ? Effect.as(store(bytes), part) : Effect.succeed(part)),
            Stream.runCollect
          )
          same(Buffer.concat(parts), bytes)
        }))

      it.effect("removes bytes, once and again, and takes them in anew", () =>
        Effect.gen(function*() {
          const artifacts = yield* ArtifactStore
          const bytes = bytesOf(9, 1_000)
          const sha256 = yield* store(bytes)
          yield* artifacts.remove(sha256)
          yield* artifacts.remove(sha256)
          assert.isUndefined(yield* readAll(sha256))
          yield* store(bytes)
          same(yield* readAll(sha256), bytes)
        }))

      it.effect("names a local file that holds the bytes", () =>
        Effect.gen(function*() {
          const fs = yield* FileSystem.FileSystem
          const artifacts = yield* ArtifactStore
          const bytes = bytesOf(10, 100_000)
          const file = yield* artifacts.localFile(yield* store(bytes))
          assert.isDefined(file)
          same(yield* fs.readFile(file), bytes)
        }).pipe(Effect.scoped))

      it.effect("lists what is older than an age", () =>
        Effect.gen(function*() {
          const artifacts = yield* ArtifactStore
          const sha256 = yield* store(bytesOf(11, 1_000))
          assert.include(yield* allAddresses, sha256)
          assert.notInclude(yield* Stream.runCollect(artifacts.olderThan(3_600_000)), sha256)
        }))
    })
  })
