/** What is left of a model once its sagas have ended, and whether their histories are lawful. */
import { assert } from "@effect/vitest"
import { Effect, Option, Schedule, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { hash } from "node:crypto"
import { existsSync, readdirSync, statSync } from "node:fs"
import { join } from "node:path"
import type { ModelId } from "../../../src/domain/model/Model.ts"
import { Journal } from "../../../src/saga/Journal.ts"
import { JournalEntry } from "../../../src/saga/SagaEvent.ts"
import type { SagaEvent } from "../../../src/saga/SagaEvent.ts"
import { isActive } from "../../../src/saga/SagaStatus.ts"
import * as Platform from "./Platform.ts"
import type { Place } from "./Platform.ts"

const Id = Schema.Struct({ id: Schema.String })
const readIds = Schema.decodeUnknownEffect(Schema.Array(Id))
const readEntries = Schema.decodeUnknownEffect(Schema.Array(JournalEntry))

/** The saga of this type that is about the model, if it came into the journal. */
export const sagaOf = Effect.fnUntraced(function*(type: "create_model" | "delete_model", model: ModelId) {
  const sql = yield* SqlClient.SqlClient
  const [found] = yield* readIds(yield* sql`SELECT id FROM sagas WHERE name = ${type} AND input->>'id' = ${model}`)
  return found?.id
})

/** Waits until the saga has ended, and answers how. */
export const outcomeOf = Effect.fnUntraced(function*(sagaId: string) {
  const journal = yield* Journal
  const record = yield* Effect.repeat(journal.find(sagaId), {
    until: (found) => Option.isSome(found) && !isActive(found.value.status.state),
    schedule: Schedule.spaced("50 millis")
  }).pipe(Effect.map(Option.getOrThrow), Effect.timeout("90 seconds"))
  const entries = yield* readEntries(record.entries)
  return { state: record.status.state, events: entries.map(({ event }) => event), entries }
})

/** Laws 47 to 50 and 52, as far as one history can break them. */
export const assertLawful = (entries: ReadonlyArray<JournalEntry>) => {
  const said = JSON.stringify(entries, undefined, 1)
  const events = entries.map(({ event }) => event)
  const positions = (isWanted: (event: SagaEvent) => boolean) =>
    events.flatMap((event, position) => isWanted(event) ? [position] : [])

  const epochs = entries.map(({ epoch }) => epoch)
  assert.deepStrictEqual(epochs, epochs.toSorted((one, other) => one - other), `law 52: ${said}`)

  const turned = events.findIndex(({ _tag }) => _tag === "TurnedBack")
  const pivots = positions((event) => event._tag === "StepCompleted" && event.kind === "pivot")
  assert.isTrue(turned < 0 || pivots.length === 0, `law 49: ${said}`)

  const undone = events.flatMap((event) => event._tag === "CompensationCompleted" ? [event.step] : [])
  assert.strictEqual(new Set(undone).size, undone.length, `law 47: compensated once: ${said}`)
  if (turned >= 0) {
    const failed = new Set(
      events.flatMap((event) => event._tag === "StepFailed" && !event.unknown ? [event.step] : [])
    )
    const begun = events.flatMap((event) =>
      event._tag === "StepStarted" || event._tag === "StepCompleted" ? [event.step] : []
    )
    const owed = [...new Set(begun)].filter((step) => !failed.has(step))
    assert.deepStrictEqual(undone, owed.toReversed(), `law 47: ${said}`)
    const late = positions((event) => event._tag === "StepStarted" || event._tag === "StepCompleted")
    assert.isTrue(late.every((position) => position < turned), `law 48: ${said}`)
  }
  const ends = positions(({ _tag }) => _tag === "Completed" || _tag === "Compensated")
  assert.deepStrictEqual(ends, [events.length - 1], `law 50: ${said}`)
}

const Row = Schema.Struct({ state: Schema.String, status: Schema.NullOr(Schema.String) })
const readRows = Schema.decodeUnknownEffect(Schema.Array(Row))
const EventRow = Schema.Struct({ type: Schema.String })
const readEvents = Schema.decodeUnknownEffect(Schema.Array(EventRow))

/** What is there of the model, wherever it could be. */
export const remains = Effect.fnUntraced(function*({ directory }: Place, model: ModelId) {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* readRows(
    yield* sql`SELECT m.state, v.status FROM models m LEFT JOIN versions v ON v.model_id = m.id WHERE m.id = ${model}`
  )
  const events = yield* readEvents(
    yield* sql`SELECT headers->>'event-type' AS type FROM outbox WHERE key = ${model} ORDER BY seq`
  )
  const sha256 = hash("sha256", Platform.bytesOf(model), "hex")
  const place = join(directory, "models", model)
  return {
    row: row ?? null,
    events: events.map(({ type }) => type),
    isArtifactThere: existsSync(join(directory, sha256.slice(0, 2), sha256)),
    /** What is in its folder; null where there is none. A fence is none. */
    folder: existsSync(place) && statSync(place).isDirectory() ? readdirSync(place) : null
  }
})
export type Remains = Effect.Success<ReturnType<typeof remains>>

export const whole: Remains = {
  row: { state: "active", status: "uploaded" },
  events: ["model.created", "version.awaiting_upload", "version.uploaded"],
  isArtifactThere: true,
  folder: []
}
export const nothing: Remains = { row: null, events: [], isArtifactThere: false, folder: null }
export const gone: Remains = { ...nothing, events: [...whole.events, "model.deleted"] }
