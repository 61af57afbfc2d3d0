import { Clock, Effect, Schedule, Schema } from "effect"
import type { Journal, SagaRecord } from "./Journal.ts"
import { JournalEntry } from "./SagaEvent.ts"
import type { Parking } from "./SagaStatus.ts"

const decodeEntries = Schema.decodeUnknownEffect(Schema.Array(JournalEntry))

/** The entries of a record, if they are what this program understands. */
export const entriesOf = ({ entries }: SagaRecord) => decodeEntries(entries)

const whileAway = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])

/** Parks a saga that this owner holds but can't run. */
export const parkRecord = Effect.fnUntraced(function*(
  journal: Journal["Service"],
  { entries, epoch, id, status }: SagaRecord,
  parking: Parking
) {
  const { error, step } = parking
  yield* Effect.logError(`Saga parked: ${parking.reason}`, { sagaId: id }, parking)
  yield* journal.append({
    sagaId: id,
    epoch,
    position: entries.length,
    entries: [{ at: yield* Clock.currentTimeMillis, epoch, event: { _tag: "Parked", ...parking } }],
    status: {
      ...status,
      state: "parked",
      parking,
      firstError: status.firstError ?? (error === null ? null : { step, error })
    },
    isLast: true
  }).pipe(
    Effect.retry({ schedule: whileAway, while: ({ _tag }) => _tag === "JournalUnavailable" }),
    // Then it is another's to look after.
    Effect.catch((error) => Effect.logWarning("Could not park a saga", { sagaId: id }, error.message))
  )
})
