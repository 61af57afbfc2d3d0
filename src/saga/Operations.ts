/** What operators do with sagas: look at one, cancel it, let a parked one go on. */
import { Clock, Effect, Option, Schema } from "effect"
import * as History from "./History.ts"
import type { Journal, SagaRecord, SagaSummary } from "./Journal.ts"
import { entriesOf } from "./Parking.ts"
import { SagaNotActionable, SagaNotFound } from "./SagaError.ts"
import type { JournalUnavailable } from "./SagaError.ts"
import { JournalEntry } from "./SagaEvent.ts"
import type { SagaEvent } from "./SagaEvent.ts"
import { adviceFor } from "./SagaStatus.ts"
import type { SagaStatus } from "./SagaStatus.ts"

export interface SagaView extends SagaSummary {
  readonly input: Schema.Json
  readonly epoch: number
  /** What happened, in order; an entry that can't be read is shown as it is. */
  readonly history: ReadonlyArray<JournalEntry | { readonly unreadable: unknown }>
  /** For a parked saga: what an operator can do. */
  readonly advice: string | undefined
}

export interface Retry {
  readonly by: string
}

export interface Resolution {
  readonly by: string
  /** What the step would have returned, as the journal keeps it; for a compensation nothing. */
  readonly output?: Schema.Json | undefined
}

export interface Operations {
  readonly find: (sagaId: string) => Effect.Effect<SagaView, SagaNotFound | JournalUnavailable>
  /** Turns a saga back that is not past its pivot; returns when that is asked for, not when it is done. */
  readonly cancel: (
    sagaId: string
  ) => Effect.Effect<void, SagaNotFound | SagaNotActionable | JournalUnavailable>
  /** Lets a parked saga try again what it was parked over. */
  readonly retry: (
    sagaId: string,
    options: Retry
  ) => Effect.Effect<void, SagaNotFound | SagaNotActionable | JournalUnavailable>
  /** Tells a parked saga that the step or the compensation that it was parked over is done, by hand. */
  readonly resolve: (
    sagaId: string,
    resolution: Resolution
  ) => Effect.Effect<void, SagaNotFound | SagaNotActionable | JournalUnavailable>
}

const decodeEntry = Schema.decodeUnknownOption(JournalEntry)

const viewOf = ({ entries, epoch, input, ...summary }: SagaRecord): SagaView => ({
  id: summary.id,
  name: summary.name,
  version: summary.version,
  status: summary.status,
  startedAt: summary.startedAt,
  endedAt: summary.endedAt,
  input,
  epoch,
  history: entries.map((entry) => Option.getOrElse(decodeEntry(entry), () => ({ unreadable: entry }))),
  advice: summary.status.parking === null ? undefined : adviceFor(summary.status.parking.reason)
})

export const make = (journal: Journal["Service"]): Operations => {
  const findRecord = Effect.fnUntraced(function*(sagaId: string) {
    const found = yield* journal.find(sagaId)
    return Option.isSome(found) ? found.value : yield* new SagaNotFound({ sagaId })
  })

  /** Takes a parked saga out of everybody's hands, and lets it go on with what has become of it. */
  const goOn = Effect.fnUntraced(function*(
    sagaId: string,
    action: "retry" | "resolve" | "cancel",
    by: string,
    change: (record: SagaRecord) => Effect.Effect<
      { readonly events: ReadonlyArray<SagaEvent>; readonly status?: Partial<SagaStatus> },
      SagaNotActionable
    >
  ) {
    const { status } = yield* findRecord(sagaId)
    if (status.state !== "parked") return yield* new SagaNotActionable({ sagaId, action, why: "it is not parked" })
    const seized = Option.getOrUndefined(yield* journal.seize(sagaId))
    if (seized === undefined) return yield* new SagaNotActionable({ sagaId, action, why: "it is no longer parked" })
    const { events, status: changed } = yield* change(seized)
    const at = yield* Clock.currentTimeMillis
    const { epoch } = seized
    yield* journal.append({
      sagaId,
      epoch,
      position: seized.entries.length,
      entries: [...events, { _tag: "Resumed", by } as const].map((event) => ({ at, epoch, event })),
      status: {
        ...seized.status,
        state: seized.status.direction === "backward" ? "compensating" : "running",
        parking: null,
        ...changed
      },
      isLast: true
    }).pipe(
      Effect.catchTag(
        "LeaseLost",
        () => new SagaNotActionable({ sagaId, action, why: "somebody else has acted on it" })
      )
    )
    yield* Effect.logInfo(`Saga goes on: ${action} by ${by}`, { sagaId })
  })

  /** What the step that it is parked over would have recorded. */
  const doneByHand = Effect.fnUntraced(function*(record: SagaRecord, { by, output }: Resolution) {
    const { id: sagaId, status: { parking } } = record
    const refuse = (why: string) => new SagaNotActionable({ sagaId, action: "resolve", why })
    const step = parking?.step ?? undefined
    if (parking === null || step === undefined) return yield* refuse("it is not parked over a step")
    switch (parking.reason) {
      case "compensation-failed":
        return { events: [{ _tag: "CompensationCompleted", step, by } as const] }
      case "step-failed":
      case "output-too-large":
      case "outcome-unknown": {
        const entries = yield* Effect.catch(entriesOf(record), () => refuse("its journal is unreadable"))
        const kind = History.fold(entries).steps.get(step)?.kind
        if (kind === undefined) return yield* refuse("its journal lacks the step")
        const events = [{ _tag: "StepCompleted", step, kind, output: output ?? null, by } as const]
        return kind === "pivot" ? { events, status: { direction: "committed" } as const } : { events }
      }
      default:
        return yield* refuse(adviceFor(parking.reason))
    }
  })

  const cancel = Effect.fnUntraced(function*(sagaId: string) {
    const { status: { direction, state } } = yield* findRecord(sagaId)
    const refuse = (why: string) => new SagaNotActionable({ sagaId, action: "cancel", why })
    if (state === "completed" || state === "compensated") return yield* refuse("it has ended")
    if (direction === "committed") return yield* refuse("it is past its pivot")
    if (direction === "backward") return yield* refuse("it has turned back already")
    yield* journal.requestCancel(sagaId)
    if (state === "parked") yield* goOn(sagaId, "cancel", "cancel", () => Effect.succeed({ events: [] }))
  })

  return {
    find: (sagaId) => Effect.map(findRecord(sagaId), viewOf),
    cancel,
    retry: (sagaId, { by }) => goOn(sagaId, "retry", by, () => Effect.succeed({ events: [] })),
    resolve: (sagaId, resolution) => goOn(sagaId, "resolve", resolution.by, (record) => doneByHand(record, resolution))
  }
}
