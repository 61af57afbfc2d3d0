import { Schema } from "effect"
import { AliasName, ModelId, ModelName } from "./Model.ts"
import type { VersionStatus } from "./Version.ts"
import { VersionFailure, VersionNumber } from "./Version.ts"

export const EventId = Schema.String.check(Schema.isUUID(7)).pipe(Schema.brand("EventId"))
export type EventId = typeof EventId.Type

const event = <const Type extends string, Data extends Schema.Struct.Fields>(type: Type, data: Data) =>
  Schema.Struct({
    id: EventId,
    type: Schema.Literal(type),
    /** The version of this event's schema. */
    version: Schema.Literal(1),
    occurredAt: Schema.DateTimeUtcFromString,
    modelId: ModelId,
    data: Schema.Struct({ model: ModelName, ...data })
  })

const versionEvent = <const Status extends VersionStatus>(status: Status) =>
  event(`version.${status}`, { version: VersionNumber })

export const ModelCreated = event("model.created", { owner: Schema.String })
export const ModelUpdated = event("model.updated", {})
export const ModelDeleted = event("model.deleted", {})
export const AliasSet = event("alias.set", { alias: AliasName, version: VersionNumber })
export const AliasRemoved = event("alias.removed", { alias: AliasName })

/** One event for each state that a version enters. */
export const VersionEvent = Schema.Union([
  versionEvent("awaiting_upload"),
  versionEvent("uploaded"),
  versionEvent("validating"),
  versionEvent("converting"),
  versionEvent("deploying"),
  versionEvent("ready"),
  event("version.failed", { version: VersionNumber, failure: VersionFailure }),
  versionEvent("retired")
])
export type VersionEvent = typeof VersionEvent.Type

/** Everything that the topic `model-events` carries, keyed by model id. */
export const ModelEvent = Schema.Union([
  ModelCreated,
  ModelUpdated,
  ModelDeleted,
  AliasSet,
  AliasRemoved,
  ...VersionEvent.members
])
export type ModelEvent = typeof ModelEvent.Type
