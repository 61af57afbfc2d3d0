import { Effect, Exit, Fiber, Scope } from "effect"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import type { Figures } from "./RunnerFigures.ts"
import type { RunnerProcess } from "./RunnerProcess.ts"
import * as Runner from "./RunnerProcess.ts"
import type { RunnerProgram } from "./RunnerProgram.ts"

export interface RunnerPool {
  /** A runner that has no model yet, for the caller alone; it is ended when the scope closes. */
  readonly take: Effect.Effect<RunnerProcess, DependencyUnavailable, Scope.Scope>
}

/**
 * Keeps one runner started ahead of need, so that opening a model need not wait for a process. The pool bounds nothing:
 * whoever takes runners knows how many there may be.
 */
export const make = Effect.fnUntraced(function*(program: RunnerProgram, memoryBytes: number, figures: Figures) {
  const pool = yield* Effect.scope
  // The runner's scope belongs to the pool until it is taken, and is closed by whoever took it.
  const start = Effect.gen(function*() {
    const scope = yield* Scope.fork(pool)
    const runner = yield* Runner.start(program, memoryBytes, figures).pipe(
      Scope.provide(scope),
      Effect.onError(() => Scope.close(scope, Exit.void))
    )
    return { runner, scope }
  })
  const spare = { fiber: yield* Effect.forkIn(Effect.exit(start), pool) }

  const next = Effect.uninterruptible(Effect.gen(function*() {
    const { fiber } = spare
    spare.fiber = yield* Effect.forkIn(Effect.exit(start), pool)
    const started = yield* Fiber.join(fiber)
    if (Exit.isSuccess(started) && started.value.runner.isAlive) return started.value
    if (Exit.isSuccess(started)) yield* Scope.close(started.value.scope, Exit.void)
    return yield* start
  }))

  const take: RunnerPool["take"] = Effect.map(
    Effect.acquireRelease(next, ({ scope }) => Scope.close(scope, Exit.void)),
    ({ runner }) => runner
  )
  return { take } satisfies RunnerPool
})
