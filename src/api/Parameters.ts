import { Schema } from "effect"
import { IdempotencyKey } from "../domain/access/Idempotency.ts"
import { ModelId } from "../domain/model/Model.ts"
import { VersionNumber } from "../domain/model/Version.ts"
import { cursorOf, PageLimit } from "../domain/paging/Cursor.ts"

/** A model's name or id in a path. */
export const ModelRef = Schema.String.check(Schema.isBetweenLength(1, 63))
export const VersionInPath = Schema.FiniteFromString.pipe(Schema.decodeTo(VersionNumber))

export const modelPath = { model: ModelRef }
export const versionPath = { model: ModelRef, version: VersionInPath }

export const page = <Position extends Schema.Constraint>(position: Position) => ({
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(cursorOf(position))
})
export const modelPage = page(ModelId)
export const versionPage = page(VersionNumber)

export const idempotencyHeader = { "idempotency-key": Schema.optionalKey(IdempotencyKey) }

/** From where a client resumes a stream of Server-Sent Events. */
export const lastEventId = {
  "last-event-id": Schema.optionalKey(
    Schema.String.check(Schema.isPattern(/^[0-9]{1,18}$/, { expected: "an id that this stream sent" }))
  )
}
