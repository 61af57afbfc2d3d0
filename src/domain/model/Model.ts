import { Effect, Schema } from "effect"
import { VersionNumber } from "./Version.ts"

export const ModelId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("ModelId"))
export type ModelId = typeof ModelId.Type

/** A model's unique name; it stands in paths and in metrics, so its alphabet is small and its length bounded. */
export const ModelName = Schema.String.check(
  Schema.isPattern(/^[a-z0-9][a-z0-9._-]{0,62}$/, {
    expected: "1 to 63 characters of a-z, 0-9, '.', '_' and '-', the first a letter or a digit"
  })
).pipe(Schema.brand("ModelName"))
export type ModelName = typeof ModelName.Type

/** A movable name for a version, such as `production`. Never all digits, so that it can't be read as a version. */
export const AliasName = Schema.String.check(
  Schema.isPattern(/^(?![0-9]+$)[a-z0-9][a-z0-9._-]{0,62}$/, {
    expected: "1 to 63 characters of a-z, 0-9, '.', '_' and '-', the first a letter or a digit, not digits alone"
  })
).pipe(Schema.brand("AliasName"))
export type AliasName = typeof AliasName.Type

export const Description = Schema.String.check(Schema.isMaxLength(2_000))
export const Tag = Schema.String.check(
  Schema.isPattern(/^[\p{L}\p{N}][\p{L}\p{N}._:/-]{0,62}$/u, {
    expected: "1 to 63 letters, digits, '.', '_', ':', '/' and '-', the first a letter or a digit"
  })
)
export const Tags = Schema.Array(Tag).check(Schema.isMaxLength(32), Schema.isUnique())

export class Model extends Schema.Class<Model>("maas/domain/Model")({
  id: ModelId,
  name: ModelName,
  description: Description,
  tags: Tags,
  /** The principal that created it. */
  owner: Schema.String,
  aliases: Schema.Record(AliasName, VersionNumber),
  latestVersion: VersionNumber,
  createdAt: Schema.DateTimeUtcFromString,
  updatedAt: Schema.DateTimeUtcFromString
}) {}

/** What a caller may say of a model that is to be. */
export const ModelDraft = Schema.Struct({
  name: ModelName,
  description: Description.pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
  tags: Tags.pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))
})
