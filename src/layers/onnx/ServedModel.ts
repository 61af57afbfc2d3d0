import { Deferred, Duration, Effect, Exit, Option, Scope } from "effect"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { ModelRefused } from "../../domain/model/ModelRefused.ts"
import type { Signature } from "../../domain/model/Signature.ts"
import type { ArtifactStore } from "../../services/ArtifactStore.ts"
import type { Deployment } from "../../services/ModelRuntime.ts"
import { CallQueue } from "./CallQueue.ts"
import { loadOptions, localFile, open } from "./ModelInspector.ts"
import type { Figures } from "./RunnerFigures.ts"
import type { RunnerLimitsOptions } from "./RunnerLimits.ts"
import type { RunnerPool } from "./RunnerPool.ts"
import type { RunnerDeath } from "./RunnerProcess.ts"

export interface ServedModel {
  readonly deployment: Deployment
  readonly calls: CallQueue
  /** Waits until the model is loaded, having it loaded where it is not. */
  readonly loaded: Effect.Effect<void, ModelRefused | DependencyUnavailable>
  /** Ends the runner; calls that wait fail. */
  readonly close: Effect.Effect<void>
}

export interface Environment {
  readonly pool: RunnerPool
  readonly limits: RunnerLimitsOptions
  readonly artifacts: ArtifactStore["Service"]
  readonly figures: Figures
}

/** Before the start after the second crash in a row; doubled with each further one, up to the last. */
const firstBackoff = Duration.millis(250)
const lastBackoff = Duration.seconds(30)

/** Serves a version from a runner of its own until the scope closes; a runner that dies is replaced. */
export const make = Effect.fnUntraced(function*(deployment: Deployment, environment: Environment) {
  const { figures, limits } = environment
  const scope = yield* Scope.fork(yield* Effect.scope)
  const calls = new CallQueue(deployment, limits, figures)
  const state = { loaded: Deferred.makeUnsafe<void, ModelRefused | DependencyUnavailable>(), crashes: 0 }

  /** Serves from one runner to its end. */
  const serveOnce: Effect.Effect<RunnerDeath, ModelRefused | DependencyUnavailable> = Effect.scoped(
    Effect.gen(function*() {
      const runner = yield* environment.pool.take
      const signature = yield* Effect.scoped(
        Effect.flatMap(
          localFile(environment.artifacts, deployment.artifact),
          (path) => open(runner, { type: "load", path, ...loadOptions(limits) }, limits)
        )
      )
      if (!answersAs(signature, deployment.signature)) {
        return yield* new ModelRefused({
          code: "conversion_failed",
          message: "The loaded model's inputs and outputs are not those of the validated one"
        })
      }
      figures.loads++
      calls.answered = 0
      calls.attach(runner)
      Deferred.doneUnsafe(state.loaded, Exit.void)
      return yield* Effect.ensuring(runner.ended, Effect.sync(() => calls.detach()))
    })
  )

  const backOff = (failure: ModelRefused | DependencyUnavailable | RunnerDeath) =>
    Effect.suspend(() => {
      const wait = Duration.min(
        Duration.times(firstBackoff, 2 ** Math.min(Math.max(state.crashes - 2, 0), 10)),
        lastBackoff
      )
      const why = "reason" in failure ? failure.reason : failure.message
      const seconds = Math.ceil(Duration.toSeconds(wait))
      calls.wanted.closeUnsafe()
      calls.turnAway(
        failure instanceof DependencyUnavailable
          ? failure
          : calls.crashed(`${why} (${state.crashes} times in a row; it is started again in ${seconds} s)`)
      )
      return Effect.andThen(Effect.sleep(wait), Effect.sync(() => calls.welcome()))
    })

  const serve = Effect.gen(function*() {
    yield* calls.wanted.await
    const outcome = yield* Effect.exit(serveOnce)
    const loaded = state.loaded
    state.loaded = Deferred.makeUnsafe()
    state.crashes = calls.answered > 0 ? 1 : state.crashes + 1
    if (Exit.isSuccess(outcome)) {
      // A runner that was too slow has done nothing that waiting would mend.
      if (state.crashes > 1 && outcome.value.kind !== "deadline") yield* backOff(outcome.value)
      return
    }
    yield* Deferred.failCause(loaded, outcome.cause)
    yield* Option.match(Exit.findErrorOption(outcome), {
      onNone: () => Effect.failCause(outcome.cause),
      onSome: backOff
    })
  })

  yield* Scope.addFinalizer(
    scope,
    Effect.sync(() => {
      calls.turnAway(calls.crashed("it was unloaded", true))
      Deferred.doneUnsafe(state.loaded, Exit.fail(unloaded))
      figures.models--
    })
  )
  figures.models++
  yield* Effect.forkIn(Effect.forever(serve), scope)

  return {
    deployment,
    calls,
    loaded: Effect.suspend(() => {
      calls.wanted.openUnsafe()
      return Deferred.await(state.loaded)
    }),
    close: Scope.close(scope, Exit.void)
  } satisfies ServedModel
})

const unloaded = new DependencyUnavailable({ dependency: "runners", retryAfterSeconds: 1 })

/** Names and datatypes: optimising may find out a dimension that was free, and runs on what it was free for. */
const answersAs = (loaded: Signature, validated: Signature): boolean => {
  const essence = ({ inputs, outputs }: Signature) =>
    JSON.stringify([inputs, outputs].map((specs) => specs.map(({ datatype, name }) => [name, datatype])))
  return essence(loaded) === essence(validated)
}
