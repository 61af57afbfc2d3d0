import { Clock, Effect, FileSystem, Layer, Option, Path, Schema, Stream } from "effect"
import type { SecureRandom } from "effect/crypto/SecureRandom"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { Sha256 } from "../../domain/model/Artifact.ts"
import { ArtifactStore } from "../../services/ArtifactStore.ts"
import * as StagingFolder from "./StagingFolder.ts"
import { storageUnavailable } from "./StorageUnavailable.ts"

/*
 * <directory>/.staging/<uuid>                      bytes that arrive, or wait to be published
 * <directory>/<first two digits>/<sha256>          artifacts
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

/** Where an artifact is, or would be. */
interface Location {
  readonly folder: string
  readonly file: string
}

const make = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  // Absolute, because runners open artifacts from working directories of their own.
  const root = path.resolve(directory)
  const staging = yield* StagingFolder.open(path.join(root, ".staging")).pipe(
    Effect.catch(storageUnavailable(`use the folder ${root}`))
  )

  /** Nothing but a digest is ever made into a path, however a string came by its brand. */
  const locate = (sha256: Sha256): Effect.Effect<Location> => {
    if (!isSha256(sha256)) return Effect.die(new TypeError(`not a SHA-256: ${JSON.stringify(sha256)}`))
    const folder = path.join(root, sha256.slice(0, 2))
    return Effect.succeed({ folder, file: path.join(folder, sha256) })
  }
  /** A new name is on disk only when the folder that holds it is. */
  const syncFolder = (folder: string) =>
    Effect.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), (opened) => opened.sync))
  const exists = (file: string) => fs.exists(file).pipe(Effect.catch(storageUnavailable("look for an artifact")))

  /**
   * Bytes that are there already are replaced, so that their age begins anew: who collects old artifacts that no version
   * uses must not take one that has just been uploaded again. Those who read the replaced file go on reading it.
   */
  const publisher = (from: string, to: Location) => {
    let moved = false
    return Effect.gen(function*() {
      yield* fs.makeDirectory(to.folder, { recursive: true, mode: 0o700 })
      // A second attempt, after a folder could not be synced, finds the file moved.
      if (!moved) yield* fs.rename(from, to.file)
      moved = true
      yield* syncFolder(to.folder)
      yield* syncFolder(root)
    }).pipe(
      Effect.uninterruptible,
      Effect.catch(storageUnavailable("publish an artifact")),
      Effect.withSpan("ArtifactStoreFolder.publish")
    )
  }

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
      const { artifact, file } = yield* staging.receive(bytes, maxBytes)
      yield* Effect.annotateCurrentSpan({ sha256: artifact.sha256, size: artifact.size })
      return { artifact, publish: publisher(file, yield* locate(artifact.sha256)) }
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
