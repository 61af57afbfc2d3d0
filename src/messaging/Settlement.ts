/** What happens to one record until it is settled: attempts, the waits between them, the dead letters. */
import { Cause, Deferred, Effect, Exit, Option } from "effect"
import type { Duration, Semaphore } from "effect"
import * as ConsumerMetrics from "./ConsumerMetrics.ts"
import { deadLetterOf, withoutValue } from "./DeadLetter.ts"
import type { Failure } from "./DeadLetter.ts"
import type { EventLog, LogRecord } from "./EventLog.ts"
import type { HandlingFailed } from "./Handling.ts"
import { MessageRefused } from "./Handling.ts"
import { keepTrying } from "./KeepTrying.ts"
import * as RecordHeaders from "./RecordHeaders.ts"
import { afterFailure } from "./RetryDelays.ts"
import type { AfterFailure } from "./RetryDelays.ts"

/** Done means handled or dead-lettered; a record that is given back is delivered again, here or elsewhere. */
export type Settled = "done" | "given back"

export interface SettlementOptions {
  readonly group: string
  readonly handle: (record: LogRecord) => Effect.Effect<void, HandlingFailed | MessageRefused>
  readonly retryDelays: ReadonlyArray<Duration.Duration>
  /** Attempts at once. Waiting for the next attempt takes no slot. */
  readonly slots: Semaphore.Semaphore
}

const failureOf = (cause: Cause.Cause<HandlingFailed | MessageRefused>): HandlingFailed | MessageRefused | Failure =>
  Option.getOrElse(Cause.findErrorOption(cause), () => ({ code: "defect", message: Cause.pretty(cause) }))

/** Once `draining` is done no attempt begins, and who waits for one gives its record back. */
export const make = (log: EventLog["Service"], options: SettlementOptions, draining: Deferred.Deferred<void>) => {
  const { group, handle, retryDelays, slots } = options

  const attempt = (record: LogRecord, count: number) =>
    handle(record).pipe(
      ConsumerMetrics.timeAttempt(group, record.topic),
      Effect.withSpan(`process ${record.topic}`, {
        kind: "consumer",
        attributes: {
          "messaging.consumer.group.name": group,
          "messaging.destination.name": record.topic,
          "messaging.destination.partition.id": String(record.partition),
          "messaging.message.offset": record.offset,
          "messaging.message.attempt": count
        }
      }),
      RecordHeaders.withParentSpan(record.headers),
      Effect.exit
    )

  /** Nothing when draining began first. */
  const attemptInSlot = (record: LogRecord, count: number) =>
    slots.withPermit(
      Effect.suspend(() => Deferred.isDoneUnsafe(draining) ? Effect.succeedNone : Effect.asSome(attempt(record, count)))
    )

  const bury = Effect.fnUntraced(function*(record: LogRecord, attempts: number, failure: Failure) {
    yield* Effect.logError("A message goes to the dead letters", failure)
    const letter = yield* deadLetterOf(record, { group, attempts, failure })
    yield* log.publish([letter]).pipe(
      Effect.catchTag("RecordTooLarge", () => log.publish([withoutValue(letter)])),
      keepTrying("A dead letter can't be written; trying again")
    )
    yield* ConsumerMetrics.countRecord(group, record.topic, "dead-lettered")
  })

  const settle = Effect.fnUntraced(function*(record: LogRecord): Effect.fn.Return<Settled> {
    for (let count = 1;; count++) {
      const exit = yield* attemptInSlot(record, count)
      if (Option.isNone(exit)) return "given back"
      if (Exit.isSuccess(exit.value)) {
        yield* ConsumerMetrics.countRecord(group, record.topic, "handled")
        return "done"
      }
      const failure = failureOf(exit.value.cause)
      const decision: AfterFailure = failure instanceof MessageRefused
        ? { _tag: "DeadLetter" }
        : afterFailure(retryDelays, count)
      if (decision._tag === "DeadLetter") {
        yield* bury(record, count, failure)
        return "done"
      }
      yield* Effect.logWarning("Handling a message failed; it is tried again", failure)
      yield* ConsumerMetrics.countRecord(group, record.topic, "retried")
      const isDraining = yield* Deferred.await(draining).pipe(
        Effect.as(true),
        Effect.timeoutOrElse({ duration: decision.delay, orElse: () => Effect.succeed(false) })
      )
      if (isDraining) return "given back"
    }
  })

  return (record: LogRecord): Effect.Effect<Settled> =>
    Effect.annotateLogs(settle(record), {
      group,
      topic: record.topic,
      partition: record.partition,
      offset: record.offset,
      key: record.key
    })
}
