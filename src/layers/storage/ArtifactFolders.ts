import type { PlatformError } from "effect"
import { Effect, FileSystem, Path, Schema } from "effect"
import { Sha256 } from "../../domain/model/Artifact.ts"

const isSha256 = Schema.is(Sha256)

/** Where an artifact is, or would be. */
export interface Location {
  readonly folder: string
  readonly file: string
}

/** The folders below `root` in which artifacts stand under their digests. */
export interface ArtifactFolders {
  /** Nothing but a digest is ever made into a path, however a string came by its brand. */
  readonly locate: (sha256: Sha256) => Effect.Effect<Location>
  /**
   * Gives the bytes of a file their address. Answers false, and has changed nothing, when they are neither there nor
   * where they were to come from.
   *
   * Bytes that are there already are replaced, so that their age begins anew: who collects old artifacts that no version
   * uses must not take one that has just been uploaded again. Those who read the replaced file go on reading it.
   */
  readonly move: (from: string, to: Location) => Effect.Effect<boolean, PlatformError.PlatformError>
  /** A new name is on disk only when the folder that holds it is. */
  readonly sync: (folder: string) => Effect.Effect<void, PlatformError.PlatformError>
}

export const make = Effect.fnUntraced(function*(
  root: string
): Effect.fn.Return<ArtifactFolders, never, FileSystem.FileSystem | Path.Path> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path

  const sync = (folder: string) =>
    Effect.scoped(Effect.flatMap(fs.open(folder, { flag: "r" }), (opened) => opened.sync))

  return {
    locate: (sha256) => {
      if (!isSha256(sha256)) return Effect.die(new TypeError(`not a SHA-256: ${JSON.stringify(sha256)}`))
      const folder = path.join(root, sha256.slice(0, 2))
      return Effect.succeed({ folder, file: path.join(folder, sha256) })
    },
    move: (from, to) =>
      Effect.gen(function*() {
        yield* fs.makeDirectory(to.folder, { recursive: true, mode: 0o700 })
        const isThere = yield* fs.rename(from, to.file).pipe(
          Effect.as(true),
          // A second attempt, after a folder could not be synced, finds the file moved.
          Effect.catchIf((error) => error.reason._tag === "NotFound", () => fs.exists(to.file))
        )
        if (!isThere) return false
        yield* sync(to.folder)
        yield* sync(root)
        return true
      }).pipe(Effect.uninterruptible),
    sync
  }
})
