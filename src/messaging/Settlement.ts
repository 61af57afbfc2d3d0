/**
 * What happens to one record of a partition, wherever it stands: whether its message may be attempted now, and where it
 * goes when that fails.
 *
 * A message may be attempted when no earlier one of its key is in a retry topic; else it follows to where the closest
 * earlier one is, behind it. So the messages of a key never overtake each other, and none of them holds up another key.
 */
import { Cause, Clock, Deferred, Duration, Effect, Exit, Latch, Option } from "effect"
import * as ConsumerMetrics from "./ConsumerMetrics.ts"
import { deadLetterOf, withoutValue } from "./DeadLetter.ts"
import type { Failure } from "./DeadLetter.ts"
import type { EventLog, LogRecord } from "./EventLog.ts"
import type { HandlingFailed } from "./Handling.ts"
import { MessageRefused, MessageSkipped } from "./Handling.ts"
import type { HeldKeys } from "./HeldKeys.ts"
import { keepTrying } from "./KeepTrying.ts"
import { KeyLocks } from "./KeyLocks.ts"
import * as RecordHeaders from "./RecordHeaders.ts"
import * as RetryTopics from "./RetryTopics.ts"
import type { Slots } from "./Slots.ts"

/** Done means handled, moved to where it waits, or dead-lettered; what is given back is delivered again, here or elsewhere. */
export type Settled = "done" | "given back"

export type Refusal = HandlingFailed | MessageRefused | MessageSkipped

export interface SettlementOptions {
  readonly group: string
  readonly handle: (record: LogRecord) => Effect.Effect<void, Refusal>
  readonly retries: RetryTopics.RetryPlan
  /** Attempts at once. Waiting for the next attempt takes no slot. */
  readonly slots: Slots
  /** While it is closed no attempt begins. */
  readonly gate: Latch.Latch
  /** Messages in retry topics; beyond that those that would go there wait where they are. */
  readonly maxHeld: number
}

/** What is known of the messages that have left their topic. */
export interface Memory {
  readonly held: HeldKeys
  /** Offsets of dead-lettered messages that may be delivered again. */
  readonly buried: Set<number>
}

const stackOf = (cause: unknown): string => cause instanceof Error ? cause.stack ?? "" : ""

const failureOf = (cause: Cause.Cause<Refusal>): Failure | MessageSkipped =>
  Option.match(Cause.findErrorOption(cause), {
    onNone: () => {
      const defect = Cause.squash(cause)
      return { code: "defect", message: Cause.pretty(cause), stack: stackOf(defect) }
    },
    onSome: (error) =>
      error instanceof MessageSkipped
        ? error
        : { code: error.code, message: error.message, stack: `${stackOf(error.cause)}\n${stackOf(error)}` }
  })

const isFinal = (cause: Cause.Cause<Refusal>): boolean =>
  Option.exists(Cause.findErrorOption(cause), (error) => error instanceof MessageRefused)

/** Once `draining` is done no attempt begins, and who waits for one gives its record back. */
export const make = (
  log: EventLog["Service"],
  options: SettlementOptions,
  { buried, held }: Memory,
  draining: Deferred.Deferred<void>
) => {
  const { gate, group, handle, maxHeld, retries, slots } = options
  const locks = new KeyLocks()
  const room = Latch.makeUnsafe(true)

  const count = (topic: string, outcome: ConsumerMetrics.Outcome) => ConsumerMetrics.countRecord(group, topic, outcome)

  /** Whether draining began before the effect was over. */
  const orDraining = (effect: Effect.Effect<void>) =>
    Effect.raceFirst(Effect.as(effect, false), Effect.as(Deferred.await(draining), true))

  const attempt = (record: LogRecord, number: number) =>
    handle(record).pipe(
      ConsumerMetrics.timeAttempt(group, record.topic),
      Effect.withSpan(`process ${record.topic}`, {
        kind: "consumer",
        attributes: {
          "messaging.consumer.group.name": group,
          "messaging.destination.name": record.topic,
          "messaging.destination.partition.id": String(record.partition),
          "messaging.message.offset": record.offset,
          "messaging.message.attempt": number
        }
        // One for each record, all made here
      }, { captureStackTrace: false }),
      RecordHeaders.withParentSpan(record.headers),
      Effect.exit
    )

  /** Nothing when draining began first. */
  const attemptInSlot = (record: LogRecord, number: number) =>
    Effect.andThen(
      gate.isOpen() ? Effect.void : orDraining(gate.await),
      slots.withSlot(
        Effect.suspend(() =>
          Deferred.isDoneUnsafe(draining) ? Effect.succeedNone : Effect.asSome(attempt(record, number))
        )
      )
    )

  const bury = Effect.fnUntraced(function*(record: LogRecord, attempts: number, failure: Failure) {
    yield* Effect.logError("A message goes to the dead letters", failure)
    const letter = yield* deadLetterOf(record, { group, attempts, failure })
    yield* log.publish([letter]).pipe(
      Effect.catchTag("RecordTooLarge", () => log.publish([withoutValue(letter)])),
      keepTrying("A dead letter can't be written; trying again")
    )
    buried.add(record.offset)
    yield* count(record.topic, "dead-lettered")
  })

  const move = Effect.fnUntraced(function*(message: RetryTopics.Message, place: number, attempts: number) {
    const { hops, record } = message
    const copy = RetryTopics.move(group, message, place, attempts)
    yield* log.publish([copy]).pipe(
      Effect.catchTag("RecordTooLarge", () => log.publish([RetryTopics.withoutValue(copy)])),
      keepTrying("A message can't be put where it has to wait; trying again")
    )
    held.put(record.key, record.offset, { place, hops: hops + 1 })
  })

  /** There is an end to what may wait in retry topics; what is there already may be moved on. */
  const awaitRoom = ({ place }: Pick<RetryTopics.Message, "place">): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      if (place > 0 || held.size < maxHeld) return Effect.succeed(false)
      room.closeUnsafe()
      return Effect.flatMap(orDraining(room.await), (isDraining) =>
        isDraining ? Effect.succeed(true) : awaitRoom({ place }))
    })

  const forget = ({ record }: RetryTopics.Message) => {
    held.remove(record.key, record.offset)
    if (held.size < maxHeld) room.openUnsafe()
  }

  /** Where the message stands among those of its key that are held. */
  const look = (message: RetryTopics.Message): "first" | "superseded" | { readonly follows: number } => {
    const { hops, place, record: { key, offset } } = message
    const known = held.find(key, offset)
    if (buried.has(offset) || (known !== undefined && known.hops > hops)) return "superseded"
    if (place > 0) held.put(key, offset, { place, hops })
    const ahead = held.ahead(key, offset)
    return ahead === undefined ? "first" : { follows: ahead.place }
  }

  /** Puts the message where it belongs unless it is the first of its key. */
  const queue = Effect.fnUntraced(function*(message: RetryTopics.Message) {
    const standing = look(message)
    if (standing === "first") return "first"
    if (standing === "superseded") {
      yield* count(message.record.topic, "superseded")
      return "done"
    }
    if (yield* awaitRoom(message)) return "given back"
    // While it waited for room what was ahead may have been settled.
    const now = look(message)
    if (typeof now === "string") return now === "first" ? "first" : "done"
    yield* move(message, now.follows, message.attempts)
    yield* count(message.record.topic, "held")
    return "done"
  })

  const queued = (message: RetryTopics.Message) => {
    const { place, record: { key } } = message
    return place === 0 && buried.size === 0 && !held.has(key) && !locks.isHeld(key)
      ? Effect.succeed("first" as const)
      : locks.withLock(key, queue(message))
  }

  /** The delay counts from when the message came to where it stands, and is not longer if clocks differ. */
  const untilDue = (message: RetryTopics.Message) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const delay = Duration.toMillis(retries.after(message.attempts)?.delay ?? Duration.zero)
      return Math.min(delay, Math.max(0, message.arrivedAt + delay - now))
    })

  const waitUntilDue = (message: RetryTopics.Message) =>
    message.attempts === 0
      ? Effect.succeed(false)
      : Effect.flatMap(untilDue(message), (millis) => orDraining(Effect.sleep(millis)))

  /** The message with its value, where that was left behind in its own topic. */
  const whole = ({ isValueOmitted, record }: RetryTopics.Message) => {
    if (!isValueOmitted) return Effect.succeed(record)
    const { offset, partition, topic } = record
    return log.read({ topic, partition, offset, maxRecords: 1 }).pipe(
      keepTrying("A message can't be read; trying again"),
      Effect.map(({ records: [found] }) => found?.offset === offset ? { ...record, value: found.value } : undefined)
    )
  }

  const gone: Failure = { code: "value_gone", message: "The log no longer has the value of the message" }

  const fail = Effect.fnUntraced(function*(
    message: RetryTopics.Message,
    record: LogRecord,
    cause: Cause.Cause<Refusal>
  ): Effect.fn.Return<Settled> {
    const failure = failureOf(cause)
    if (failure instanceof MessageSkipped) {
      yield* count(record.topic, "skipped")
      forget(message)
      return "done"
    }
    const attempts = message.attempts + 1
    const next = isFinal(cause) ? undefined : retries.after(attempts)
    if (next === undefined) {
      yield* bury(record, attempts, failure)
      forget(message)
      return "done"
    }
    yield* Effect.logWarning("Handling a message failed; it is tried again", failure)
    if (yield* awaitRoom(message)) return "given back"
    yield* locks.withLock(record.key, move(message, next.place, attempts))
    yield* count(record.topic, "retried")
    return "done"
  })

  const settle = Effect.fnUntraced(function*(message: RetryTopics.Message): Effect.fn.Return<Settled> {
    const standing = yield* queued(message)
    if (standing !== "first") return standing
    if (yield* waitUntilDue(message)) return "given back"
    const record = yield* whole(message)
    if (record === undefined) {
      yield* bury(message.record, message.attempts, gone)
      forget(message)
      return "done"
    }
    const exit = yield* attemptInSlot(record, message.attempts + 1)
    if (Option.isNone(exit)) return "given back"
    if (Exit.isFailure(exit.value)) return yield* fail(message, record, exit.value.cause)
    yield* count(record.topic, "handled")
    forget(message)
    return "done"
  })

  /** Settles a message; one that was replayed for another group is nothing to this one. */
  return (message: RetryTopics.Message): Effect.Effect<Settled> => {
    const { headers, key, offset, partition, topic } = message.record
    const replayedFor = headers[RecordHeaders.replay.group]
    if (replayedFor !== undefined && replayedFor !== group) return Effect.as(count(topic, "skipped"), "done")
    return Effect.annotateLogs(settle(message), { group, topic, partition, offset, key })
  }
}
