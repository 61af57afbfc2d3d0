import { Schema } from "effect"
import { Artifact } from "./Artifact.ts"
import { Signature } from "./Signature.ts"

/** 1, 2, 3… of a model. The bound is that of a 32-bit signed integer. */
export const VersionNumber = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2_147_483_647 }))
export type VersionNumber = typeof VersionNumber.Type

/** The stages of the pipeline, in their order. */
export const PipelineStage = Schema.Literals(["validate", "convert", "deploy"])
export type PipelineStage = typeof PipelineStage.Type

/** Why a version failed: a stable `code` for programs and a `message` that its uploader can act on. */
export class VersionFailure extends Schema.Class<VersionFailure>("maas/domain/VersionFailure")({
  stage: PipelineStage,
  code: Schema.String,
  message: Schema.String
}) {}

// Each state holds exactly what is known in it: a `ready` version without a signature or a `failed` one without a
// reason can't be written down.

export const AwaitingUpload = Schema.Struct({ status: Schema.tag("awaiting_upload") })
export type AwaitingUpload = typeof AwaitingUpload.Type

export const Uploaded = Schema.Struct({ status: Schema.tag("uploaded"), artifact: Artifact })
export type Uploaded = typeof Uploaded.Type

export const Validating = Schema.Struct({ status: Schema.tag("validating"), artifact: Artifact })
export type Validating = typeof Validating.Type

export const Converting = Schema.Struct({
  status: Schema.tag("converting"),
  artifact: Artifact,
  signature: Signature
})
export type Converting = typeof Converting.Type

export const Deploying = Schema.Struct({
  status: Schema.tag("deploying"),
  artifact: Artifact,
  signature: Signature,
  /** The graph-optimised model, which is what runs. */
  optimized: Artifact
})
export type Deploying = typeof Deploying.Type

export const Ready = Schema.Struct({
  status: Schema.tag("ready"),
  artifact: Artifact,
  signature: Signature,
  optimized: Artifact
})
export type Ready = typeof Ready.Type

export const Failed = Schema.Struct({ status: Schema.tag("failed"), failure: VersionFailure })
export type Failed = typeof Failed.Type

export const Retired = Schema.Struct({ status: Schema.tag("retired") })
export type Retired = typeof Retired.Type

export const VersionState = Schema.Union([
  AwaitingUpload,
  Uploaded,
  Validating,
  Converting,
  Deploying,
  Ready,
  Failed,
  Retired
])
export type VersionState = typeof VersionState.Type
export type VersionStatus = VersionState["status"]
export const VersionStatus = Schema.Literals([
  "awaiting_upload",
  "uploaded",
  "validating",
  "converting",
  "deploying",
  "ready",
  "failed",
  "retired"
])

/** A state that the pipeline will not leave by itself. */
export const isSettled = (status: VersionStatus): boolean =>
  status === "ready" || status === "failed" || status === "retired"
