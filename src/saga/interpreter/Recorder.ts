/**
 * Writes down what happens to one saga. Entries are held back until the next one that has to be in the journal before
 * anything else may happen: so the outcome of a step and the intent of the next one go in one write.
 */
import { Effect, Exit, Schedule, Semaphore } from "effect"
import type { Clock } from "effect"
import type { Journal, Write } from "../Journal.ts"
import type { JournalEntry, SagaEvent } from "../SagaEvent.ts"
import type { SagaStatus } from "../SagaStatus.ts"
import { Detached } from "./Signal.ts"

export interface Recorder {
  readonly status: () => SagaStatus
  /** Changes the status with the next write. */
  readonly become: (change: Partial<SagaStatus>) => void
  /** Adds an event to the next write, and returns its place among all events. */
  readonly note: (event: SagaEvent) => number
  /** How many events there are, with those that wait for the next write. */
  readonly count: () => number
  /** Returns when everything noted is in the journal; ends the run if this owner may no longer write. */
  readonly flush: Effect.Effect<void>
  /** As `flush`, while nothing else of the saga runs: there is nobody who might write at the same time. */
  readonly flushAlone: Effect.Effect<void>
  /** As `flushAlone`, and gives the saga out of hand. */
  readonly close: Effect.Effect<void>
  /**
   * Runs the effect in one transaction with the event that belongs to its result. `onCommit` is called when both have
   * happened, even if who waits for it is interrupted at that moment.
   */
  readonly transact: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    event: (result: A) => SagaEvent,
    onCommit: (result: A) => void
  ) => Effect.Effect<A, E, R>
}

export interface RecorderOptions {
  readonly journal: Journal["Service"]
  readonly sagaId: string
  readonly epoch: number
  /** How many entries there are, and where the saga stands. */
  readonly length: number
  readonly status: SagaStatus
  readonly clock: Clock.Clock
  /** Makes the first write of a saga that is not in the journal yet. */
  readonly create?: ((first: Pick<Write, "entries" | "status" | "isLast">) => Effect.Effect<void>) | undefined
}

/** Ends only with the run itself: the lease says for how long that may go on. */
const whileAway = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")])

const taken = () => Effect.die(new Detached({ why: "taken" }))
const unsure = () => Effect.die(new Detached({ why: "unsure" }))

export const make = (options: RecorderOptions): Recorder => {
  const { clock, epoch, journal, sagaId } = options
  const lock = Semaphore.makeUnsafe(1)
  let { create, length, status } = options
  let noted = length
  /** False from the beginning of a write that others wait for until it has come to an end that is known. */
  let isWhole = true
  let pending: Array<JournalEntry> = []

  const entry = (event: SagaEvent): JournalEntry => ({ at: clock.currentTimeMillisUnsafe(), epoch, event })

  const write = (entries: ReadonlyArray<JournalEntry>, isLast: boolean): Write => ({
    sagaId,
    epoch,
    position: length,
    entries,
    status,
    isLast
  })

  const send = (write: Write): Effect.Effect<void> => {
    if (create !== undefined) {
      const first = create(write)
      create = undefined
      return first
    }
    return Effect.catch(journal.append(write), (error) => error._tag === "LeaseLost" ? taken() : again(write))
  }
  const again = (write: Write): Effect.Effect<void> =>
    journal.append(write).pipe(
      Effect.retry({ schedule: whileAway, while: ({ _tag }) => _tag === "JournalUnavailable" }),
      Effect.catchTags({ LeaseLost: taken, JournalUnavailable: unsure })
    )

  /** A write that comes to nothing ends the run, so what comes after it counts on it from the start. */
  const flushing = (isLast: boolean) =>
    Effect.suspend(() => {
      if (pending.length === 0) return Effect.void
      const next = write(pending, isLast)
      length += pending.length
      pending = []
      return send(next)
    })

  /** After a write that was cut off nobody knows where the journal ends, so that there is nothing to go on from. */
  const whole = <A>(write: Effect.Effect<A>) => Effect.suspend(() => isWhole ? write : unsure())

  const flushLocked = Effect.suspend(() => {
    isWhole = false
    return Effect.map(flushing(false), () => {
      isWhole = true
    })
  })

  const transact: Recorder["transact"] = (effect, event, onCommit) =>
    Effect.uninterruptibleMask((restore) => {
      let isLocked = false
      let sent = 0
      // Nobody else may write between here and the end of the transaction.
      const inside = Effect.tap(restore(effect), () =>
        Effect.flatMap(lock.take(1), () => {
          isLocked = true
          return whole(Effect.void)
        }))
      const transaction = journal.transact(inside, (result) => {
        isWhole = false
        const entries = [...pending, entry(event(result))]
        sent = entries.length
        return write(entries, false)
      }).pipe(
        Effect.catchTags({ LeaseLost: taken, JournalUnavailable: unsure }),
        Effect.tap((exit) =>
          Effect.sync(() => {
            if (Exit.isFailure(exit)) return
            isWhole = true
            // What was noted meanwhile stays for the next write.
            pending = pending.slice(sent - 1)
            length += sent
            noted++
            onCommit(exit.value)
          })
        ),
        Effect.ensuring(Effect.suspend(() => isLocked ? lock.release(1) : Effect.void))
      )
      const born = create === undefined ? Effect.void : lock.withPermit(Effect.suspend(() => send(write([], false))))
      return Effect.flatten(Effect.andThen(born, transaction))
    })

  return {
    status: () => status,
    become: (change) => {
      status = { ...status, ...change }
    },
    note: (event) => {
      pending.push(entry(event))
      return noted++
    },
    count: () => noted,
    // What was noted may be in a write of another branch, which is waited for as well
    flush: Effect.suspend(() => pending.length === 0 && isWhole ? Effect.void : lock.withPermit(whole(flushLocked))),
    flushAlone: flushing(false),
    close: flushing(true),
    transact
  }
}
