import { Schema } from "effect"
import { AliasName, ModelId } from "./Model.ts"
import { VersionNumber, VersionStatus } from "./Version.ts"

/** No model has this name or id. */
export class ModelNotFound extends Schema.TaggedError<ModelNotFound>()("ModelNotFound", { model: Schema.String }) {
  override get message() {
    return `There is no model '${this.model}'`
  }
}

export class ModelNameTaken extends Schema.TaggedError<ModelNameTaken>()("ModelNameTaken", { name: Schema.String }) {
  override get message() {
    return `A model named '${this.name}' exists already: choose another name, or add a version to that model`
  }
}

/** The owner has as many models, or bytes of artifacts, as one may have. */
export class StorageQuotaReached extends Schema.TaggedError<StorageQuotaReached>()("StorageQuotaReached", {
  owner: Schema.String,
  of: Schema.Literals(["models", "bytes"]),
  limit: Schema.Int
}) {
  override get message() {
    return this.of === "models"
      ? `'${this.owner}' has ${this.limit} models, as many as one owner may have: delete one, or have the limit raised (MAAS_QUOTA_MODELS)`
      : `The artifacts of '${this.owner}' would be more than ${this.limit} bytes together: delete versions, or have the limit raised (MAAS_QUOTA_STORAGE)`
  }
}

/** What was uploaded is gone before it could be kept: its process ended, or its connection did. */
export class UploadLost extends Schema.TaggedError<UploadLost>()("UploadLost", { model: ModelId }) {
  override get message() {
    return `The upload for the model ${this.model} was lost: repeat it`
  }
}

export class VersionNotFound extends Schema.TaggedError<VersionNotFound>()("VersionNotFound", {
  model: Schema.String,
  version: VersionNumber
}) {
  override get message() {
    return `The model '${this.model}' has no version ${this.version}`
  }
}

export class AliasNotFound extends Schema.TaggedError<AliasNotFound>()("AliasNotFound", {
  model: Schema.String,
  alias: AliasName
}) {
  override get message() {
    return `The model '${this.model}' has no alias '${this.alias}'`
  }
}

/** What was asked can't be done while the version is in this state. */
export class VersionStateConflict extends Schema.TaggedError<VersionStateConflict>()("VersionStateConflict", {
  model: Schema.String,
  version: VersionNumber,
  status: VersionStatus,
  wanted: Schema.String
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' is ${this.status}: ${this.wanted}`
  }
}

/** Aliases point at the version that was to be deleted. */
export class VersionInUse extends Schema.TaggedError<VersionInUse>()("VersionInUse", {
  model: Schema.String,
  version: VersionNumber,
  aliases: Schema.Array(AliasName)
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' is what ${
      this.aliases.map((alias) => `'${alias}'`).join(", ")
    } stands for: move or remove the alias first`
  }
}

/** The model was changed since the caller read it (`If-Match`). */
export class ModelChanged extends Schema.TaggedError<ModelChanged>()("ModelChanged", { model: Schema.String }) {
  override get message() {
    return `'${this.model}' was changed by somebody else since it was read: read it again and repeat the change`
  }
}

/** The version has no artifact: none was uploaded yet, or it is gone. */
export class ArtifactNotFound extends Schema.TaggedError<ArtifactNotFound>()("ArtifactNotFound", {
  model: Schema.String,
  version: VersionNumber
}) {
  override get message() {
    return `Version ${this.version} of '${this.model}' has no artifact`
  }
}

export class ArtifactTooLarge extends Schema.TaggedError<ArtifactTooLarge>()("ArtifactTooLarge", {
  limitBytes: Schema.Int
}) {
  override get message() {
    return `The artifact is larger than the ${this.limitBytes} bytes that this server accepts (MAAS_MAX_UPLOAD)`
  }
}

/** The bytes that arrived are not those that `Content-Digest` announced. */
export class DigestMismatch extends Schema.TaggedError<DigestMismatch>()("DigestMismatch", {
  expected: Schema.String,
  actual: Schema.String
}) {
  override get message() {
    return `The artifact arrived with SHA-256 ${this.actual}, but its Content-Digest says ${this.expected}: upload it again`
  }
}
