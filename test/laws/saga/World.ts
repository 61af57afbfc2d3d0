/**
 * The outside world, where actions have their effects: it knows them by their idempotency keys, and refuses whoever
 * comes with a smaller fence than it has seen. It outlives every process.
 */
import { Duration, Effect, Option, Schedule, Schema } from "effect"
import * as Saga from "../../../src/saga/Saga.ts"
import type { StepTimedOut } from "../../../src/saga/SagaError.ts"
import * as Step from "../../../src/saga/Step.ts"
import type { StepContext } from "../../../src/saga/StepSpec.ts"
import { Refused } from "./Shapes.ts"
import type { Shape, StepShape } from "./Shapes.ts"

export interface Deed {
  readonly what: "done" | "undone"
  /** The step's name, and its path in the saga. */
  readonly name: string
  readonly step: string
}

interface Subject {
  fence: number
  isDone: boolean
  isUndone: boolean
  undoCalls: number
  attempts: number
}

export interface World {
  readonly deeds: ReadonlyArray<Deed>
  readonly subjects: ReadonlyMap<string, Subject>
  readonly saga: (shape: Shape) => Saga.Saga<number, Refused | StepTimedOut>
  /** A transaction of this step has committed. */
  readonly commit: (step: string) => void
  /** What nobody waits for any more happens now. */
  readonly releaseLate: () => void
}

/** Attempts at what hangs end after this long. */
const patience = Duration.millis(30)
const forEver = Duration.hours(1)

export const make = (): World => {
  const deeds: Array<Deed> = []
  const subjects = new Map<string, Subject>()
  const staged = new Map<string, () => void>()
  const late: Array<() => void> = []

  const subjectOf = ({ step }: { readonly step: string }): Subject => {
    const subject = subjects.get(step) ?? { fence: 0, isDone: false, isUndone: false, undoCalls: 0, attempts: 0 }
    subjects.set(step, subject)
    return subject
  }

  /** Whether the fence lets it through. */
  const passes = (subject: Subject, fence: number) => {
    if (fence < subject.fence) return false
    subject.fence = fence
    return true
  }

  const doIt = ({ name }: StepShape, context: StepContext) => {
    const subject = subjectOf(context)
    if (!passes(subject, context.fence) || subject.isDone) return
    subject.isDone = true
    deeds.push({ what: "done", name, step: context.step })
  }

  const undoIt = ({ name }: StepShape, context: StepContext) => {
    const subject = subjectOf(context)
    subject.undoCalls++
    if (!passes(subject, context.fence) || subject.isUndone) return
    if (!subject.isDone) return
    subject.isUndone = true
    deeds.push({ what: "undone", name, step: context.step })
  }

  /** How often this step has been taken: the number after `#`. */
  const occurrence = ({ step }: StepContext) => Number(/#([0-9]+)$/.exec(step)?.[1] ?? 1)

  const act = (shape: StepShape, context: StepContext) =>
    Effect.gen(function*() {
      const subject = subjectOf(context)
      const attempt = ++subject.attempts
      yield* Effect.yieldNow
      const refuse = new Refused({ step: shape.name })
      const effect = () => doIt(shape, context)
      switch (shape.action) {
        case "fails":
          return yield* refuse
        case "fails once":
          if (attempt === 1) return yield* refuse
          break
        case "dies":
          return yield* Effect.die(new Error("broken"))
        case "hangs once":
          if (attempt === 1) return yield* Effect.never
          break
        case "hangs":
          return yield* Effect.never
        case "late":
          if (!shape.isTransactional) late.push(effect)
          return yield* Effect.never
        case "succeeds":
      }
      yield* context.checkFence
      if (shape.isTransactional) staged.set(context.step, effect)
      else effect()
      return occurrence(context)
    })

  const undo = (shape: StepShape, context: StepContext) =>
    Effect.gen(function*() {
      yield* Effect.yieldNow
      const calls = subjectOf(context).undoCalls + 1
      if (shape.compensation === "fails" || (shape.compensation === "fails once" && calls === 1)) {
        subjectOf(context).undoCalls++
        return yield* new Refused({ step: `undo ${shape.name}` })
      }
      if (shape.compensation === "hangs once" && calls === 1) {
        subjectOf(context).undoCalls++
        return yield* Effect.never
      }
      if (shape.isTransactional) staged.set(context.step, () => undoIt(shape, context))
      else undoIt(shape, context)
    })

  const step = (shape: StepShape): Saga.Saga<number, Refused | StepTimedOut> => {
    const common = {
      name: shape.name,
      output: Schema.Finite,
      error: Refused,
      transactional: shape.isTransactional,
      action: (context: StepContext) => act(shape, context),
      timeout: /hangs|late/.test(shape.action) ? patience : forEver
    }
    const retry = shape.action === "fails once" || shape.action === "hangs once" ? Schedule.recurs(1) : undefined
    switch (shape.kind) {
      case "compensatable":
        return Step.compensatable({
          ...common,
          retry,
          compensate: (_output: Option.Option<number>, context) => undo(shape, context),
          compensationRetry: Schedule.recurs(2),
          compensationTimeout: shape.compensation === "hangs once" ? patience : forEver
        })
      case "pivot":
        return Step.pivot({ ...common, retry })
      case "retriable":
        return Step.retriable({ ...common, retry: Schedule.recurs(2) })
    }
  }

  const saga = (shape: Shape): Saga.Saga<number, Refused | StepTimedOut> => {
    switch (shape._tag) {
      case "Step":
        return step(shape)
      case "Sequence":
        return Saga.gen(function*() {
          let sum = 0
          for (const part of shape.parts) sum += yield* saga(part)
          return sum
        })
      case "Parallel":
        return Saga.map(
          Saga.forEach(shape.parts, saga, { concurrency: shape.concurrency }),
          (values) => values.reduce((sum, value) => sum + value, 0)
        )
      case "Nested":
        return Saga.nested(saga(shape.part), shape.name)
      case "When":
        return Saga.map(Saga.when(saga(shape.part), shape.condition), (value) => Option.getOrElse(value, () => 0))
      case "Repeat":
        return Saga.repeatUntil(step(shape.step), (times) => times >= shape.times)
      case "Catch":
        return Saga.catchTag(saga(shape.part), "Refused", () => saga(shape.otherwise))
    }
  }

  return {
    deeds,
    subjects,
    saga,
    commit: (step) => {
      staged.get(step)?.()
      staged.delete(step)
    },
    releaseLate: () => {
      for (const effect of late.splice(0)) effect()
    }
  }
}
