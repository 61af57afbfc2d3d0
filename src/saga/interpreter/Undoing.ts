/** What there is to undo, and how it is undone: what began last first, and side by side what was done side by side. */
import { Duration, Effect, Option } from "effect"
import type { Undo } from "../StepSpec.ts"
import * as TraceContext from "../TraceContext.ts"
import * as Attempts from "./Attempts.ts"
import { contextOf, describe, describeCause, park } from "./Execution.ts"
import type { Execution } from "./Execution.ts"
import type { Replay } from "./Replay.ts"
import * as Signal from "./Signal.ts"

export type Undoable =
  | { readonly _tag: "Step"; readonly undo: Effect.Effect<void> }
  | { readonly _tag: "Line"; readonly line: UndoLine }
  | {
    readonly _tag: "Together"
    readonly lines: ReadonlyArray<UndoLine>
    readonly concurrency: number
    readonly replay: Replay
  }

/** In the order in which it was done. */
export type UndoLine = Array<Undoable>

/** Undoes the line from its end, and forgets it. Every branch comes to its end, also when another can't. */
export const rollback = (line: UndoLine): Effect.Effect<void> =>
  Effect.suspend(() => {
    const last = line.at(-1)
    if (last === undefined) return Effect.void
    return Effect.andThen(
      undo(last),
      Effect.suspend(() => {
        line.pop()
        return rollback(line)
      })
    )
  })

const undo = (undoable: Undoable): Effect.Effect<void> => {
  switch (undoable._tag) {
    case "Step":
      return undoable.undo
    case "Line":
      return rollback(undoable.line)
    case "Together": {
      const { concurrency, lines, replay } = undoable
      const end = Effect.sync(replay.sideBySide(lines.length, concurrency))
      return Effect.forEach(lines, (line) => Effect.exit(Effect.ensuring(rollback(line), end)), { concurrency }).pipe(
        Effect.flatMap((exits) => Effect.forEach(exits, (exit) => exit, { discard: true }))
      )
    }
  }
}

/**
 * Compensates one step: again and again by its schedule, and then it is an operator's turn. `output` is read when it
 * begins.
 */
export const compensation = <A>(
  execution: Execution,
  step: { readonly name: string; readonly path: string; readonly isTransactional: boolean },
  { compensate, retry, timeout }: Undo<A, never>,
  output: () => Option.Option<A>
): Effect.Effect<void> => {
  const { history, recorder, replay, scope } = execution
  const { isTransactional, name, path } = step
  const completed = { _tag: "CompensationCompleted", step: path } as const

  const attempts = Effect.suspend(() => {
    const known = output()
    let current = 0
    return Attempts.repeat(
      (attempt) => {
        current = attempt
        const context = contextOf(execution, path, "compensation", () => current === attempt)(attempt)
        const once = Effect.catchDefect(compensate(known, context), Effect.fail)
        return isTransactional ? recorder.transact(once, () => completed, () => undefined) : once
      },
      {
        retry,
        timeout: { after: timeout, error: () => `no end within ${Duration.format(timeout)}` },
        scope,
        isPatient: isTransactional,
        onRetry: (error, attempt, delay) =>
          Effect.logWarning(`Compensation failed; again in ${Duration.format(delay)}`, { attempt }, error)
      }
    )
  })

  return Effect.gen(function*() {
    if (history.steps.get(path)?.isCompensated === true) return
    yield* replay.caughtUp()
    if (!isTransactional) {
      recorder.note({ _tag: "CompensationStarted", step: path })
      yield* recorder.flush
    }
    yield* Effect.logDebug("Compensation started")
    const ended = yield* attempts
    if (ended._tag === "Failed") return yield* park("compensation-failed", path, describe(ended.error))
    if (ended._tag === "Died") {
      return yield* Signal.find(ended.cause) === undefined
        ? park("compensation-failed", path, describeCause(ended.cause))
        : Effect.failCause(ended.cause)
    }
    if (!isTransactional) recorder.note(completed)
    yield* Effect.logInfo("Compensation completed")
  }).pipe(
    Effect.annotateLogs("step", path),
    TraceContext.withSpan(`compensate ${name}`, { "saga.id": execution.sagaId, "saga.step": path })
  )
}
