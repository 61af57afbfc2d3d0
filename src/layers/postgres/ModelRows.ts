import { Schema } from "effect"
import { Artifact } from "../../domain/model/Artifact.ts"
import { Model, ModelId, ModelName } from "../../domain/model/Model.ts"
import { Signature } from "../../domain/model/Signature.ts"
import type { VersionState } from "../../domain/model/Version.ts"
import { VersionFailure, VersionNumber, VersionStatus } from "../../domain/model/Version.ts"
import * as Version from "../../domain/model/Version.ts"
import type { ModelRecord, VersionRecord } from "../../services/ModelRepository.ts"

export const ModelRow = Schema.Struct({
  id: ModelId,
  name: ModelName,
  description: Schema.String,
  tags: Schema.Array(Schema.String),
  owner: Schema.String,
  aliases: Schema.Record(Schema.String, VersionNumber),
  latestVersion: VersionNumber,
  revision: Schema.Int,
  createdAt: Schema.DateTimeUtcFromDate,
  updatedAt: Schema.DateTimeUtcFromDate
})

const decodeAliases = Schema.decodeUnknownSync(Model.fields.aliases)

export const toModelRecord = ({ revision, aliases, ...row }: typeof ModelRow.Type): ModelRecord => ({
  model: new Model({ ...row, aliases: decodeAliases(aliases) }),
  revision
})

export const VersionRow = Schema.Struct({
  modelId: ModelId,
  model: ModelName,
  version: VersionNumber,
  status: VersionStatus,
  artifact: Schema.NullOr(Artifact),
  optimized: Schema.NullOr(Artifact),
  signature: Schema.NullOr(Signature),
  failure: Schema.NullOr(VersionFailure),
  createdAt: Schema.DateTimeUtcFromDate,
  updatedAt: Schema.DateTimeUtcFromDate
})

const decodeState = Schema.decodeUnknownSync(Schema.toType(Version.VersionState))

/** The table's checks make every row one of the domain's states; the schema says so to the compiler. */
export const toVersionRecord = (
  { modelId, model, version, createdAt, updatedAt, ...state }: typeof VersionRow.Type
): VersionRecord => ({
  modelId,
  model,
  version,
  createdAt,
  updatedAt,
  state: decodeState(state)
})

/** The columns that a state fills; the others are null. */
export const stateColumns = (state: VersionState) => ({
  artifact: "artifact" in state ? state.artifact.sha256 : null,
  optimized: "optimized" in state ? state.optimized.sha256 : null,
  signature: "signature" in state ? Schema.encodeSync(Signature)(state.signature) : null,
  failure: "failure" in state ? Schema.encodeSync(VersionFailure)(state.failure) : null
})
