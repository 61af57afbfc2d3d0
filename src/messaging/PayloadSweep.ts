/**
 * Removes large payloads that no message refers to any more. A record in a log can't be asked for, so payloads are kept by
 * age, for as long as the log keeps records and longer. Their age counts from when they were last needed by a message
 * that is not published yet; and while the outbox or the book of dead letters refers to one, it stays, however old.
 */
import type { Array } from "effect"
import { Context, Duration, Effect, Layer, Schedule, Schema, Stream } from "effect"
import { countPayload } from "./LargePayloads.ts"
import { PayloadLocation, PayloadStore } from "./PayloadStore.ts"

/** Who refers to payloads besides the records of the log. */
export class PayloadReferences extends Context.Service<PayloadReferences, {
  /** What messages refer to that have waited in the outbox for longer than the given age in milliseconds. */
  readonly waiting: (ageMillis: number) => Stream.Stream<string, PayloadReferencesUnavailable>
  /** Which of these a message in the outbox or a dead letter refers to. */
  readonly among: (
    locations: Array.NonEmptyReadonlyArray<PayloadLocation>
  ) => Effect.Effect<ReadonlySet<string>, PayloadReferencesUnavailable>
}>()("maas/messaging/PayloadSweep/PayloadReferences") {}

export class PayloadReferencesUnavailable
  extends Schema.TaggedError<PayloadReferencesUnavailable>()("PayloadReferencesUnavailable", { cause: Schema.Defect() })
{
  override get message() {
    return "Who refers to large payloads can't be found out"
  }
}

export interface PayloadSweepOptions {
  /** How long payloads are kept: a day more than the log keeps records. */
  readonly keepFor: Duration.Input
  /** Default 1 hour. */
  readonly every?: Duration.Input | undefined
}

/** How long a message may wait in the outbox before the age of its payload begins anew. */
const renewAfter = Duration.hours(12)

/** Payloads that are looked up at once. */
const batch = 500

const isLocation = Schema.is(PayloadLocation)

/** One round; answers how many payloads were removed. */
export const sweep = Effect.fn("sweep_payloads")(function*(keepFor: Duration.Duration) {
  const store = yield* PayloadStore
  const references = yield* PayloadReferences

  yield* references.waiting(Duration.toMillis(renewAfter)).pipe(
    Stream.filter(isLocation),
    Stream.runForEach(store.renew)
  )
  let removed = 0
  yield* store.olderThan(Duration.toMillis(keepFor)).pipe(
    Stream.grouped(batch),
    Stream.runForEach(Effect.fnUntraced(function*(old) {
      const needed = yield* references.among(old)
      for (const location of old) {
        if (needed.has(location)) continue
        yield* store.remove(location)
        yield* countPayload("removed")
        removed++
      }
    }))
  )
  return removed
})

/** Sweeps at the start and from time to time. Several processes may: what one has removed is gone for the others. */
export const layer = ({ every = "1 hour", keepFor }: PayloadSweepOptions) =>
  Layer.effectDiscard(
    sweep(Duration.fromInputUnsafe(keepFor)).pipe(
      Effect.catch((error) => Effect.logWarning("Large payloads are cleaned up later", error)),
      Effect.repeat(Schedule.spaced(every)),
      Effect.forkScoped
    )
  )
