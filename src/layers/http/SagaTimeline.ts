/** What a saga's journal says, as operators read it. */
import { DateTime, Option, Predicate, Schema } from "effect"
import type { SagaDetails, SagaView } from "../../api/SagasApi.ts"
import type { SagaView as Recorded } from "../../saga/Operations.ts"
import type { JournalEntry, SagaEvent } from "../../saga/SagaEvent.ts"
import type { FirstError, RecordedError } from "../../saga/SagaStatus.ts"

type Step = typeof SagaView.Type["steps"][number]

const timeOf = (millis: number) => DateTime.makeUnsafe(millis)

const errorOf = ({ message, tag }: RecordedError) => ({ code: tag, message })
const failureOf = ({ error, step }: FirstError) => ({ step, ...errorOf(error) })

const isReadable = (entry: Recorded["history"][number]): entry is JournalEntry => "event" in entry

/** The steps in the order in which they began. */
const stepsOf = (history: Recorded["history"]): ReadonlyArray<Step> => {
  const steps = new Map<string, Step>()
  const change = (name: string, change: Partial<Step>) => {
    const step = steps.get(name)
    if (step !== undefined) steps.set(name, { ...step, ...change })
  }
  for (const entry of history) {
    if (!isReadable(entry)) continue
    const { event } = entry
    const at = timeOf(entry.at)
    switch (event._tag) {
      case "StepStarted":
      case "StepCompleted":
      case "StepFailed": {
        const { kind, step } = event
        const startedAt = steps.get(step)?.startedAt ?? at
        const common = { step, kind, startedAt, endedAt: at, error: null, by: null }
        steps.set(
          step,
          event._tag === "StepStarted"
            ? { ...common, endedAt: null, state: "started" }
            : event._tag === "StepCompleted"
            ? { ...common, state: "completed", by: event.by ?? null }
            : { ...common, state: "failed", error: errorOf(event.error) }
        )
        break
      }
      case "CompensationStarted": {
        change(event.step, { state: "compensating", endedAt: null })
        break
      }
      case "CompensationCompleted": {
        change(event.step, { state: "compensated", endedAt: at, ...(event.by === undefined ? {} : { by: event.by }) })
        break
      }
      case "Parked": {
        if (event.step !== null && event.error !== null) change(event.step, { error: errorOf(event.error) })
        break
      }
      case "TurnedBack":
      case "Resumed":
      case "Recovered":
      case "Completed":
      case "Compensated":
    }
  }
  return [...steps.values()]
}

const decodeJson = Schema.decodeUnknownOption(Schema.Json)
const jsonOf = (value: unknown) => Option.getOrElse(decodeJson(value), () => null)

/** What the event tells besides its name and its step. */
const dataOf = (event: SagaEvent) =>
  jsonOf(Object.fromEntries(Object.entries(event).filter(([field]) => field !== "_tag" && field !== "step")))

const happened = (entry: Recorded["history"][number]): typeof SagaDetails.Type["history"][number] =>
  isReadable(entry)
    ? {
      at: timeOf(entry.at),
      epoch: entry.epoch,
      event: entry.event._tag,
      step: Predicate.hasProperty(entry.event, "step") && Predicate.isString(entry.event.step)
        ? entry.event.step
        : null,
      data: dataOf(entry.event)
    }
    : { at: null, epoch: null, event: "Unreadable", step: null, data: jsonOf(entry.unreadable) }

export const viewOf = (saga: Recorded): typeof SagaView.Type => ({
  id: saga.id,
  type: saga.name,
  version: saga.version,
  state: saga.status.state,
  startedAt: timeOf(saga.startedAt),
  endedAt: saga.endedAt === undefined ? null : timeOf(saga.endedAt),
  firstError: saga.status.firstError === null ? null : failureOf(saga.status.firstError),
  steps: stepsOf(saga.history)
})

export const detailsOf = (saga: Recorded): typeof SagaDetails.Type => {
  const { advice, epoch, history, input, status: { parking } } = saga
  return {
    ...viewOf(saga),
    input,
    epoch,
    parked: parking === null || advice === undefined ? null : {
      reason: parking.reason,
      step: parking.step,
      error: parking.error === null ? null : errorOf(parking.error),
      advice
    },
    history: history.map(happened)
  }
}
