import type { Effect, Scope, Stream } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { Artifact, Sha256 } from "../domain/model/Artifact.ts"
import type { ArtifactTooLarge } from "../domain/model/ModelErrors.ts"

/** Bytes that arrived whole and are durable, but have no address yet. */
export interface StagedArtifact {
  readonly artifact: Artifact
  /** By which another process that has the same store finds the bytes, as long as they are staged. */
  readonly name: string
  /** Gives the bytes their address. Bytes that are there already are kept once. */
  readonly publish: Effect.Effect<void, DependencyUnavailable>
}

/** Keeps artifacts under the SHA-256 of their bytes. */
export class ArtifactStore extends Context.Service<ArtifactStore, {
  /**
   * Takes in a stream of bytes without ever holding them whole in memory. What was not published when the scope closes
   * is removed.
   */
  readonly stage: <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>,
    options: { readonly maxBytes: number }
  ) => Effect.Effect<StagedArtifact, E | ArtifactTooLarge | DependencyUnavailable, R | Scope.Scope>
  /** The bytes from `start` up to but not including `end`; `undefined` when nothing has this address. */
  readonly read: (
    sha256: Sha256,
    range?: { readonly start: number; readonly end: number }
  ) => Effect.Effect<Stream.Stream<Uint8Array, DependencyUnavailable> | undefined, DependencyUnavailable>
  /** A file on this machine that holds the artifact's bytes while the scope is open. */
  readonly localFile: (
    sha256: Sha256
  ) => Effect.Effect<string | undefined, DependencyUnavailable, Scope.Scope>
  /** Removes the bytes; what is not there is gone already. */
  readonly remove: (sha256: Sha256) => Effect.Effect<void, DependencyUnavailable>
  /** Every address in use whose bytes are older than the given age in milliseconds. */
  readonly olderThan: (ageMillis: number) => Stream.Stream<Sha256, DependencyUnavailable>
}>()("maas/services/ArtifactStore") {}
