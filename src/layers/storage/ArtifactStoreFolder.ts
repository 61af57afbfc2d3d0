import { Clock, Effect, FileSystem, Layer, Option, Path, Schema, Stream } from "effect"
import type { SecureRandom } from "effect/crypto/SecureRandom"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { Sha256 } from "../../domain/model/Artifact.ts"
import { ArtifactStore } from "../../services/ArtifactStore.ts"
import * as ArtifactFolders from "./ArtifactFolders.ts"
import * as StagingFolder from "./StagingFolder.ts"
import { storageUnavailable } from "./StorageUnavailable.ts"

/*
 * <directory>/.staging/<uuid>                      bytes that arrive, or wait to be published
 * <directory>/<first two digits>/<sha256>          artifacts
 * <directory>/models/                              see `ModelStorageFolder`
 *
 * Folders have mode 0700 and files 0600: artifact files are read by runner processes of the same user.
 */

const isSha256 = Schema.is(Sha256)
const isShard = Schema.is(Schema.String.check(Schema.isPattern(/^[0-9a-f]{2}$/)))

/**
 * Artifacts as files below `directory`, which is made where there is none. Several processes may share it, also over a
 * network, as long as a rename within it is atomic.
 */
export const layer = (
  options: { readonly directory: string }
): Layer.Layer<ArtifactStore, DependencyUnavailable, FileSystem.FileSystem | Path.Path | SecureRandom> =>
  Layer.effect(ArtifactStore, make(options.directory))

const make = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  // Absolute, because runners open artifacts from working directories of their own.
  const root = path.resolve(directory)
  const staging = yield* StagingFolder.open(path.join(root, ".staging")).pipe(
    Effect.catch(storageUnavailable(`use the folder ${root}`))
  )

  const { locate, move } = yield* ArtifactFolders.make(root)
  const exists = (file: string) => fs.exists(file).pipe(Effect.catch(storageUnavailable("look for an artifact")))

  const publisher = (from: string, to: ArtifactFolders.Location) =>
    move(from, to).pipe(
      Effect.catch(storageUnavailable("publish an artifact")),
      Effect.flatMap((isThere) => isThere ? Effect.void : storageUnavailable("publish an artifact")(`${from} is gone`)),
      Effect.withSpan("ArtifactStoreFolder.publish")
    )

  const namesIn = (folder: string) =>
    Stream.fromIterableEffect(fs.readDirectory(folder)).pipe(
      Stream.catch((error) => Stream.fromEffect(storageUnavailable("list artifacts")(error)))
    )

  const isOlder = (file: string, limit: number) =>
    fs.stat(file).pipe(
      Effect.map(({ mtime }) => Option.exists(mtime, (time) => time.getTime() < limit)),
      // Removed since its folder was listed.
      Effect.catchIf((error) => error.reason._tag === "NotFound", () => Effect.succeed(false)),
      Effect.catch(storageUnavailable("read an artifact's age"))
    )

  return ArtifactStore.of({
    stage: Effect.fn("ArtifactStoreFolder.stage")(function*(bytes, { maxBytes }) {
      const { artifact, name, file } = yield* staging.receive(bytes, maxBytes)
      yield* Effect.annotateCurrentSpan({ sha256: artifact.sha256, size: artifact.size })
      return { artifact, name, publish: publisher(file, yield* locate(artifact.sha256)) }
    }),
    read: Effect.fn("ArtifactStoreFolder.read")(function*(sha256, range) {
      const { file } = yield* locate(sha256)
      if (!(yield* exists(file))) return undefined
      const part = range && { offset: range.start, bytesToRead: Math.max(0, range.end - range.start) }
      return fs.stream(file, part).pipe(
        Stream.catch((error) => Stream.fromEffect(storageUnavailable("read an artifact")(error)))
      )
    }),
    localFile: Effect.fnUntraced(function*(sha256) {
      const { file } = yield* locate(sha256)
      return (yield* exists(file)) ? file : undefined
    }),
    // Not synced: an artifact that a power cut brings back is one that nobody uses, and `olderThan` finds it.
    remove: Effect.fn("ArtifactStoreFolder.remove")(function*(sha256) {
      const { file } = yield* locate(sha256)
      yield* fs.remove(file, { force: true }).pipe(Effect.catch(storageUnavailable("remove an artifact")))
    }),
    olderThan: (ageMillis) =>
      Stream.unwrap(Effect.map(Clock.currentTimeMillis, (now) =>
        namesIn(root).pipe(
          Stream.filter(isShard),
          Stream.flatMap((shard) => namesIn(path.join(root, shard))),
          Stream.filter(isSha256),
          Stream.filterEffect((sha256) => Effect.flatMap(locate(sha256), ({ file }) => isOlder(file, now - ageMillis)))
        )))
  })
})
