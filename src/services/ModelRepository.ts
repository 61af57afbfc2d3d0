import type { DateTime, Effect } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { Sha256 } from "../domain/model/Artifact.ts"
import type { AliasName, Model, ModelId, ModelName } from "../domain/model/Model.ts"
import type { ModelNameTaken } from "../domain/model/ModelErrors.ts"
import type { VersionFailure, VersionNumber, VersionState, VersionStatus } from "../domain/model/Version.ts"

/** A model as it is kept; `revision` grows with every change and becomes the `ETag`. */
export interface ModelRecord {
  readonly model: Model
  readonly revision: number
}

export interface VersionRecord {
  readonly modelId: ModelId
  readonly model: ModelName
  readonly version: VersionNumber
  readonly state: VersionState
  readonly createdAt: DateTime.Utc
  readonly updatedAt: DateTime.Utc
}

/** One state that a version entered; `seq` grows in the order of the changes of one version. */
export interface HistoryEntry {
  readonly seq: bigint
  readonly status: VersionStatus
  readonly failure: VersionFailure | null
  readonly at: DateTime.Utc
}

/** What one owner may have: models, and bytes of artifacts of all of their versions together. */
export interface StorageLimits {
  readonly models: number
  readonly bytes: number
}

/** A name or an id, as it stands in a path. */
export type ModelRef = string

/** Keeps models, their versions and aliases. Everything that was not found is `undefined`: what that means is the caller's. */
export class ModelRepository extends Context.Service<ModelRepository, {
  /**
   * Writes down a model that is to be: it takes its name, and is otherwise not there for anybody until it is
   * registered.
   */
  readonly record: (model: Model) => Effect.Effect<void, ModelNameTaken | DependencyUnavailable>
  /**
   * Counts a recorded model, and `bytes` that are to come with it, towards its owner's quota: one after the other per
   * owner, so that a limit is never passed. Tells which limit is in the way, and counts once however often it is asked.
   */
  readonly reserve: (
    id: ModelId,
    bytes: number,
    limits: StorageLimits
  ) => Effect.Effect<"reserved" | "models" | "bytes" | "gone", DependencyUnavailable>
  /** Makes a recorded model one that everybody sees, with its version 1, `awaiting_upload`. False when it is gone. */
  readonly register: (id: ModelId, at: DateTime.Utc) => Effect.Effect<boolean, DependencyUnavailable>
  /** Forgets a model that was recorded and never registered. */
  readonly discard: (id: ModelId) => Effect.Effect<void, DependencyUnavailable>
  /**
   * Whether the owner may have so many bytes more. The answer holds until the transaction ends, since others who ask for
   * the same owner wait.
   */
  readonly hasRoomFor: (
    owner: string,
    bytes: number,
    limits: StorageLimits
  ) => Effect.Effect<boolean, DependencyUnavailable>
  readonly find: (ref: ModelRef) => Effect.Effect<ModelRecord | undefined, DependencyUnavailable>
  /** Whether there is anything of the model, be it one that is being made or deleted. */
  readonly knows: (id: ModelId) => Effect.Effect<boolean, DependencyUnavailable>
  /** As `find`, and nobody else changes the model until the transaction ends. */
  readonly lock: (ref: ModelRef) => Effect.Effect<ModelRecord | undefined, DependencyUnavailable>
  /** Newest first, from below `before`; at most `limit`. */
  readonly list: (filter: {
    readonly text: string | undefined
    readonly tag: string | undefined
    readonly before: ModelId | undefined
    readonly limit: number
  }) => Effect.Effect<ReadonlyArray<Model>, DependencyUnavailable>
  readonly update: (
    id: ModelId,
    change: { readonly description: string; readonly tags: ReadonlyArray<string> },
    at: DateTime.Utc
  ) => Effect.Effect<void, DependencyUnavailable>
  /**
   * Takes the model out of everybody's sight, and its name and artifacts out of use; only its rows are still there.
   * Answers the artifacts that it had.
   */
  readonly retire: (id: ModelId, at: DateTime.Utc) => Effect.Effect<ReadonlyArray<Sha256>, DependencyUnavailable>
  /** Removes the rows of a retired model, its versions and their history. */
  readonly forget: (id: ModelId) => Effect.Effect<void, DependencyUnavailable>

  /** Adds the next version, `awaiting_upload`, and answers its number. */
  readonly addVersion: (id: ModelId, at: DateTime.Utc) => Effect.Effect<VersionNumber, DependencyUnavailable>
  readonly findVersion: (
    ref: ModelRef,
    version: VersionNumber
  ) => Effect.Effect<VersionRecord | undefined, DependencyUnavailable>
  /** Highest first, from below `before`; at most `limit`; without those that are retired. */
  readonly listVersions: (
    id: ModelId,
    page: { readonly before: VersionNumber | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<VersionRecord>, DependencyUnavailable>
  /** The highest version that is `ready`. */
  readonly latestReady: (ref: ModelRef) => Effect.Effect<VersionRecord | undefined, DependencyUnavailable>
  /** Every `ready` version of every model, by name and number. */
  readonly listReady: (limit: number) => Effect.Effect<ReadonlyArray<VersionRecord>, DependencyUnavailable>
  /**
   * Writes the version's next state and its history, if it is still in the state `from`. Answers false, and has changed
   * nothing, when somebody else was faster.
   */
  readonly advance: (
    version: Pick<VersionRecord, "modelId" | "version">,
    from: VersionStatus,
    to: VersionState,
    at: DateTime.Utc
  ) => Effect.Effect<boolean, DependencyUnavailable>
  readonly history: (
    version: Pick<VersionRecord, "modelId" | "version">,
    after: bigint
  ) => Effect.Effect<ReadonlyArray<HistoryEntry>, DependencyUnavailable>

  readonly setAlias: (
    id: ModelId,
    alias: AliasName,
    version: VersionNumber,
    at: DateTime.Utc
  ) => Effect.Effect<void, DependencyUnavailable>
  /** Answers whether there was such an alias. */
  readonly removeAlias: (
    id: ModelId,
    alias: AliasName,
    at: DateTime.Utc
  ) => Effect.Effect<boolean, DependencyUnavailable>

  /**
   * Notes that the artifact is about to be used and holds it against removal until the transaction ends.
   */
  readonly claimArtifact: (
    artifact: { readonly sha256: Sha256; readonly size: number; readonly format: string }
  ) => Effect.Effect<void, DependencyUnavailable>
  /**
   * Lets `remove` delete the bytes of every artifact that no version refers to and that was not claimed within
   * `graceMillis`, each while nobody can claim it, and forgets it. With `only`, looks at these, and waits for others who
   * do so at the same time. Answers how many were removed.
   */
  readonly sweepArtifacts: <E, R>(
    which: { readonly graceMillis: number; readonly only?: ReadonlyArray<Sha256> },
    remove: (sha256: Sha256) => Effect.Effect<void, E, R>
  ) => Effect.Effect<number, E | DependencyUnavailable, R>
  readonly knowsArtifact: (sha256: Sha256) => Effect.Effect<boolean, DependencyUnavailable>
}>()("maas/services/ModelRepository") {}
