/** Enters what arrives in the `.dlq` topics in the book of dead letters, as a group of its own. */
import { Effect } from "effect"
import { deadLetterTopic } from "./DeadLetter.ts"
import { DeadLetters } from "./DeadLetters.ts"
import { EventLog } from "./EventLog.ts"
import type { AssignedPartition } from "./EventLog.ts"
import { keepTrying } from "./KeepTrying.ts"

export const recorderGroup = "dead-letters"

/** Records until interrupted, of topics that exist. */
export const run = Effect.fnUntraced(function*(topics: ReadonlyArray<string>) {
  const log = yield* EventLog
  const book = yield* DeadLetters

  const record = ({ commit, take }: AssignedPartition) =>
    Effect.gen(function*() {
      while (true) {
        const letters = yield* take
        for (const letter of letters) {
          yield* book.record(letter).pipe(keepTrying("A dead letter can't be recorded; trying again"))
          yield* Effect.catchTag(commit(letter.offset + 1), "EventLogUnavailable", () => Effect.void)
        }
      }
    }).pipe(
      Effect.catchTag(
        "PartitionLost",
        (error) => Effect.logInfo("Others record the dead letters of a partition", error)
      )
    )

  return yield* log.subscribe({
    group: recorderGroup,
    topics: topics.map(deadLetterTopic),
    from: "earliest"
  }, record)
})
