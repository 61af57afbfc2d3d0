/** Branches as this interpreter has them: lines of execution, with what there is to undo on each. */
import { Array, Cause, Effect, Exit, Order, Result } from "effect"
import type { Branch, Routine } from "../Branch.ts"
import { describe, park } from "./Execution.ts"
import type { Execution } from "./Execution.ts"
import * as Line from "./Line.ts"
import * as Signal from "./Signal.ts"
import * as StepRun from "./StepRun.ts"
import { rollback } from "./Undoing.ts"

interface Failed<E> {
  readonly line: Line.Line
  readonly cause: Cause.Cause<E>
}

/** Signals to the whole saga come before errors, and both before those that only stopped because another failed. */
const rank = ({ cause }: Failed<unknown>): number => {
  const signal = Signal.find(cause)
  return signal === undefined ? 1 : signal._tag === "Halted" ? 2 : 0
}

/** Of branches that failed, the one that decides is first; of errors, the one that came first in the journal. */
const byPrecedence = Order.combine<Failed<unknown>>(
  Order.mapInput(Order.Number, rank),
  Order.mapInput(Order.Number, ({ line }) => line.position)
)

const together = Effect.fnUntraced(function*<A, E, R>(
  execution: Execution,
  line: Line.Line,
  prefix: string,
  routines: ReadonlyArray<readonly [name: string, routine: Routine<A, E, R>]>,
  concurrency: number
) {
  const { recorder, replay } = execution
  const { halt, isRecoverable, position } = line
  const group = halt.fork()
  const lines = routines.map(() => Line.make({ halt: group, isParallel: true, isRecoverable, position }))
  line.undo.push({ _tag: "Together", lines: lines.map(({ undo }) => undo), concurrency, replay })

  const end = Effect.sync(replay.sideBySide(routines.length, concurrency))
  const begin = (own: Line.Line, name: string, routine: Routine<A, E, R>) =>
    Effect.gen(function*() {
      const branch = on(execution, own, `${prefix}${encodeURIComponent(name)}/`)
      const exit = yield* Effect.exit(Effect.suspend(() => routine(branch)))
      if (Exit.isFailure(exit)) group.trigger()
      // Nobody knows how long the other branches take to come to their next write.
      yield* recorder.flush
      return yield* exit
    }).pipe(Effect.onError(() => Effect.sync(group.trigger)), Effect.ensuring(end))

  const exits = yield* Effect.forEach(
    Array.zip(lines, routines),
    ([own, [name, routine]]) => Effect.exit(begin(own, name, routine)),
    { concurrency }
  )
  halt.release(group)

  const failures = Array.zip(lines, exits).flatMap(([own, exit]) =>
    Exit.isFailure(exit) ? [{ line: own, cause: exit.cause }] : []
  )
  if (Array.isArrayNonEmpty(failures)) {
    const first = Array.min(failures, byPrecedence)
    line.failure = first.line.failure
    line.position = first.line.position
    return yield* Effect.failCause(first.cause)
  }
  line.position = Math.max(position, ...lines.map((own) => own.position))
  return exits.filter(Exit.isSuccess).map(({ value }) => value)
})

const attempt = Effect.fnUntraced(function*<A, E, R, A2, E2, R2, E3>(
  execution: Execution,
  line: Line.Line,
  prefix: string,
  routine: Routine<A, E, R>,
  recover: (error: E) => Result.Result<Routine<A2, E2, R2>, E3>
) {
  const { halt, isParallel, isRecoverable, position } = line
  const own = Line.make({ halt, isParallel, isRecoverable: isRecoverable || execution.isCommitted, position })
  line.undo.push({ _tag: "Line", line: own.undo })
  const exit = yield* Effect.exit(Effect.suspend(() => routine(on(execution, own, prefix))))
  line.position = own.position
  if (Exit.isSuccess(exit)) return exit.value

  const error = Cause.findError(exit.cause)
  if (Result.isFailure(error)) {
    line.failure = own.failure
    return yield* Effect.failCause(error.failure)
  }
  const next = recover(error.success)
  if (Result.isFailure(next)) {
    line.failure = own.failure
    return yield* Effect.fail(next.failure)
  }
  // What lies before the pivot is not undone any more, so there is no way back to where the other way begins.
  if (execution.isCommitted && !own.isRecoverable) return yield* park("step-failed", null, describe(error.success))
  yield* rollback(own.undo)
  return yield* next.success(on(execution, line, prefix))
})

export const on = (execution: Execution, line: Line.Line, prefix: string): Branch => ({
  sagaId: execution.sagaId,
  step: (step) => StepRun.run(execution, line, prefix, step),
  // It is parked before it fails.
  retriable: (step) =>
    Effect.orDie(StepRun.run(execution, line, prefix, {
      ...step,
      action: (context) => Effect.catchDefect(step.action(context), Effect.fail)
    })),
  within: (name) => on(execution, line, `${prefix}${encodeURIComponent(name)}/`),
  together: (routines, concurrency) => together(execution, line, prefix, routines, concurrency),
  attempt: (routine, recover) => attempt(execution, line, prefix, routine, recover)
})
