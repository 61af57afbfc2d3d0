import { Schema } from "effect"
import { Artifact } from "../domain/model/Artifact.ts"
import { Signature } from "../domain/model/Signature.ts"
import { VersionFailure, VersionNumber, VersionStatus } from "../domain/model/Version.ts"

/** A version as callers see it: the same members in every state, null where the state has none. */
export const VersionView = Schema.Struct({
  model: Schema.String,
  version: VersionNumber,
  status: VersionStatus,
  artifact: Schema.NullOr(Artifact),
  signature: Schema.NullOr(Signature),
  error: Schema.NullOr(VersionFailure),
  createdAt: Schema.DateTimeUtcFromString,
  updatedAt: Schema.DateTimeUtcFromString
}).annotate({ identifier: "Version" })
export type VersionView = typeof VersionView.Type

/** One step of a version's way through the pipeline. */
export const VersionProgress = Schema.Struct({
  model: Schema.String,
  version: VersionNumber,
  status: VersionStatus,
  error: Schema.NullOr(VersionFailure),
  at: Schema.DateTimeUtcFromString
}).annotate({ identifier: "VersionProgress" })
