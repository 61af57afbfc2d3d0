/** What must hold of every history. */
import { assert } from "@effect/vitest"
import { Cause, Exit } from "effect"
import { SagaCancelled, SagaParked, StepTimedOut } from "../../../src/saga/SagaError.ts"
import type { SagaEvent } from "../../../src/saga/SagaEvent.ts"
import { orderOf, Refused, stepsOf } from "./Shapes.ts"
import type { StepShape } from "./Shapes.ts"
import type { Result, Scenario } from "./Simulation.ts"

const errorOf = (exit: Exit.Exit<unknown, unknown>) => Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined

const stepOf = (event: SagaEvent) => "step" in event ? event.step : null

export const check = ({ cancelAt, shape }: Scenario, { events, exit, record, world }: Result) => {
  const { deeds, subjects } = world
  const shapes = new Map(stepsOf(shape).map((step) => [step.name, step]))
  const error = errorOf(exit)
  const { direction, firstError, parking, state } = record.status
  const lastOf = (step: string) => events.findLast((event) => stepOf(event) === step && event._tag !== "Parked")

  // Law 50
  assert.include(["completed", "compensated", "parked"], state)
  assert.strictEqual(Exit.isSuccess(exit), state === "completed")
  assert.strictEqual(error instanceof SagaParked, state === "parked")
  const turns = events.filter(({ _tag }) => _tag === "TurnedBack")
  assert.isAtMost(turns.length, 1)
  assert.strictEqual(direction === "backward", turns.length === 1)
  for (const turn of turns) {
    if (turn._tag === "TurnedBack") assert.deepStrictEqual(firstError, turn.first)
  }
  if (state === "compensated") {
    assert.strictEqual(turns.length, 1)
    if (error instanceof Refused) {
      assert.deepStrictEqual(firstError?.error.value, { _tag: "Refused", step: error.step })
      assert.strictEqual(shapes.get(error.step)?.action, "fails")
    } else if (error instanceof StepTimedOut) {
      assert.match(shapes.get(error.step)?.action ?? "", /hangs|late/)
    } else if (error instanceof SagaCancelled) {
      assert.isDefined(cancelAt)
    } else {
      assert.include(firstError?.error.message, "broken")
    }
  }
  if (state === "completed") assert.isNull(firstError)
  if (state === "parked") {
    assert.isNotNull(firstError)
    if (parking?.reason === "compensation-failed") {
      const path = parking.step ?? ""
      const name = decodeURIComponent(path.replace(/#[0-9]+$/, "").split("/").at(-1) ?? "")
      assert.strictEqual(shapes.get(name)?.compensation, "fails")
    } else {
      assert.include(["step-failed", "outcome-unknown"], parking?.reason)
    }
  }

  // Law 47: whatever began is compensated, where it is not known to have done nothing
  for (const [step, { isDone, isUndone, undoCalls }] of subjects) {
    const last = lastOf(step)
    if (state === "compensated") {
      if (isDone) assert.isTrue(isUndone, `${step} is not undone`)
      const mayHaveHappened = last?._tag === "StepStarted" || last?._tag === "StepCompleted" ||
        (last?._tag === "StepFailed" && last.unknown)
      assert.isFalse(mayHaveHappened, `${step} was not compensated`)
    }
    if (last?._tag === "CompensationCompleted") assert.isAtLeast(undoCalls, 1)
    if (state === "completed" && last?._tag === "StepCompleted") {
      assert.isTrue(isDone, `${step} did not happen`)
      assert.isFalse(isUndone, `${step} was undone`)
    }
  }
  // At most one effect each way
  for (const what of ["done", "undone"]) {
    const steps = deeds.filter((deed) => deed.what === what).map(({ step }) => step)
    assert.strictEqual(new Set(steps).size, steps.length)
  }
  // In reverse order
  const undone = deeds.filter(({ what }) => what === "undone").map(({ name }) => name)
  for (const [before, after] of orderOf(shape)) {
    if (undone.includes(before) && undone.includes(after)) {
      assert.isAbove(undone.indexOf(before), undone.lastIndexOf(after), `${before} was undone before ${after}`)
    }
  }
  for (const [index, { step, what }] of deeds.entries()) {
    // A step that is repeated is undone in reverse as well
    const next = step.replace(/#([0-9]+)$/, (_, count) => `#${Number(count) + 1}`)
    const nextStep = next === step ? `${step}#2` : next
    if (what === "undone") {
      assert.isFalse(deeds.slice(index).some((deed) => deed.what === "undone" && deed.step === nextStep))
    }
  }

  // Law 48: nothing happens after its compensation
  for (const [index, { step, what }] of deeds.entries()) {
    if (what === "undone") assert.isFalse(deeds.slice(index).some((deed) => deed.what === "done" && deed.step === step))
  }

  // Law 49
  const isPast = (event: SagaEvent) =>
    event._tag === "StepCompleted" && event.kind === "pivot" ||
    event._tag === "StepStarted" && event.kind === "retriable"
  if (events.some(isPast)) {
    assert.strictEqual(direction, "committed")
    assert.notStrictEqual(state, "compensated")
    const pivot = events.findIndex(isPast)
    assert.isFalse(events.slice(pivot).some(({ _tag }) => _tag === "TurnedBack"))
  }
  const isWhole = (step: StepShape) => /succeeds|once/.test(step.action)
  if (cancelAt === undefined && [...shapes.values()].every(isWhole)) assert.strictEqual(state, "completed")
}

/**
 * What a history is, whoever wrote it: without who went on after whom, and without what only shows that somebody died.
 * An action during which a process died may have had its effect, so it is compensated where it otherwise need not be.
 */
export const essence = (events: ReadonlyArray<SagaEvent>) => {
  const failed = new Set(events.flatMap((event) => event._tag === "StepFailed" ? [event.step] : []))
  const compensations = new Set<string>()
  return events.flatMap((event): ReadonlyArray<unknown> => {
    switch (event._tag) {
      case "Recovered":
      case "Resumed":
      case "StepStarted":
      case "CompensationStarted":
        return []
      case "StepFailed":
        return [{ ...event, unknown: null }]
      case "CompensationCompleted": {
        if (failed.has(event.step) || compensations.has(event.step)) return []
        compensations.add(event.step)
        return [event]
      }
      default:
        return [event]
    }
  })
}
