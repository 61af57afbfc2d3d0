import type { PlatformError, Scope } from "effect"
import { Clock, Duration, Effect, FileSystem, Option, Path, Stream } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { createHash } from "node:crypto"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { Artifact, Sha256 } from "../../domain/model/Artifact.ts"
import { ArtifactTooLarge } from "../../domain/model/ModelErrors.ts"
import { storageUnavailable } from "./StorageUnavailable.ts"

/**
 * A file that nobody has written to for this long is a dead process's: one that is still being uploaded, by another
 * process on the same folder, is written to more often.
 */
const staleAfter = Duration.hours(1)

/** Bytes that are whole and on disk, in a file that goes when the scope closes, unless it was moved away by then. */
export interface StagedFile {
  readonly artifact: Artifact
  readonly name: string
  readonly file: string
}

/** A folder for bytes that are on their way. */
export interface StagingFolder {
  /**
   * Writes the bytes to a new file and hashes them on the way. A chunk is asked for when the last one is written; the
   * one that passes `maxBytes` is not written any more, and none is asked for after it.
   */
  readonly receive: <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    maxBytes: number
  ) => Effect.Effect<StagedFile, E | ArtifactTooLarge | DependencyUnavailable, R | Scope.Scope>
}

/** Makes the folder where there is none, and removes what uploads that were killed have left in it. */
export const open = Effect.fnUntraced(function*(
  directory: string
): Effect.fn.Return<
  StagingFolder,
  PlatformError.PlatformError,
  FileSystem.FileSystem | Path.Path | SecureRandom
> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const random = yield* SecureRandom

  yield* fs.makeDirectory(directory, { recursive: true, mode: 0o700 })
  yield* fs.access(directory, { readable: true, writable: true })
  yield* removeStale(directory)

  const receive: StagingFolder["receive"] = Effect.fnUntraced(function*(bytes, maxBytes) {
    const name = yield* random.uuidV4()
    const file = path.join(directory, name)
    // Registered before the file is opened, so that it is closed first and then removed.
    yield* Effect.addFinalizer(() =>
      fs.remove(file, { force: true }).pipe(
        Effect.catch((error) => Effect.logWarning("A staged artifact could not be removed", error))
      )
    )
    const opened = yield* fs.open(file, { flag: "wx", mode: 0o600 }).pipe(
      Effect.catch(storageUnavailable("make a file"))
    )
    const hash = createHash("sha256")
    let size = 0
    const take = Effect.fnUntraced(function*(chunk: Uint8Array) {
      size += chunk.byteLength
      if (size > maxBytes) return yield* new ArtifactTooLarge({ limitBytes: maxBytes })
      hash.update(chunk)
      // A write that has begun is waited for, also on interruption: its descriptor, closed meanwhile, could be another
      // file's by the time the write happens.
      yield* Effect.uninterruptible(opened.writeAll(chunk)).pipe(Effect.catch(storageUnavailable("write a file")))
    })
    yield* Stream.runForEach(bytes, take)
    yield* Effect.uninterruptible(opened.sync).pipe(Effect.catch(storageUnavailable("write a file")))
    return { artifact: new Artifact({ sha256: Sha256.make(hash.digest("hex")), size, format: "onnx" }), name, file }
  })
  return { receive }
})

const removeStale = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const limit = (yield* Clock.currentTimeMillis) - Duration.toMillis(staleAfter)
  for (const name of yield* fs.readDirectory(directory)) {
    const file = path.join(directory, name)
    yield* Effect.gen(function*() {
      const { mtime } = yield* fs.stat(file)
      if (!Option.exists(mtime, (time) => time.getTime() < limit)) return
      yield* fs.remove(file, { force: true })
      yield* Effect.logInfo("Removed what an interrupted upload had left", { file })
    }).pipe(
      // Finished or removed by the other process whose it was.
      Effect.catchIf((error) => error.reason._tag === "NotFound", () => Effect.void),
      Effect.catch((error) => Effect.logWarning("What an interrupted upload has left could not be removed", error))
    )
  }
})
