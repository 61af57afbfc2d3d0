import { Context, Effect, Layer } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { ModelId } from "../domain/model/Model.ts"
import type { Converting, Deploying, Validating, VersionNumber } from "../domain/model/Version.ts"
import type { Move } from "../domain/model/VersionLifecycle.ts"
import type { VersionRecord } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import type { ModelRefused } from "./ModelRuntime.ts"
import { ModelRuntime } from "./ModelRuntime.ts"
import { VersionMoves } from "./VersionMoves.ts"

/** Validates, converts and deploys what was uploaded: the work that each state of a version waits for. */
export class Pipeline extends Context.Service<Pipeline, {
  /**
   * Does the work that the version's state asks for and moves it to the next state. Safe to repeat: a version that is
   * past that state already, or gone, is left alone.
   */
  readonly advance: (modelId: ModelId, version: VersionNumber) => Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/Pipeline") {
  static readonly layer = Layer.effect(
    Pipeline,
    Effect.gen(function*() {
      const repository = yield* ModelRepository
      const runtime = yield* ModelRuntime
      const moves = yield* VersionMoves

      const refusal = ({ code, message }: ModelRefused): Effect.Effect<Move> =>
        Effect.succeed({ _tag: "fail", code, message })

      const validate = Effect.fn("validate")(function*(_: VersionRecord, { artifact }: Validating) {
        const signature = yield* runtime.validate(artifact.sha256)
        return { _tag: "validated", signature } satisfies Move
      })

      const convert = Effect.fn("convert")(function*(_: VersionRecord, { artifact }: Converting) {
        const optimized = yield* runtime.convert(artifact.sha256)
        return { _tag: "converted", optimized } satisfies Move
      })

      const deploy = Effect.fn("deploy")(function*(record: VersionRecord, { optimized, signature }: Deploying) {
        const { modelId, model, version } = record
        yield* runtime.deploy({ modelId, model, version, artifact: optimized.sha256, signature })
        return { _tag: "deployed" } satisfies Move
      })

      const work = (record: VersionRecord): Effect.Effect<Move | undefined, DependencyUnavailable> => {
        switch (record.state.status) {
          case "uploaded":
            return Effect.succeed({ _tag: "startValidation" })
          case "validating":
            return Effect.catchTag(validate(record, record.state), "ModelRefused", refusal)
          case "converting":
            return Effect.catchTag(convert(record, record.state), "ModelRefused", refusal)
          case "deploying":
            return Effect.catchTag(deploy(record, record.state), "ModelRefused", refusal)
          case "awaiting_upload":
          case "ready":
          case "failed":
          case "retired":
            return Effect.undefined
        }
      }

      const advance = Effect.fn("Pipeline.advance")(function*(modelId: ModelId, version: VersionNumber) {
        const record = yield* repository.findVersion(modelId, version)
        if (record === undefined) return
        const move = yield* work(record)
        if (move === undefined) return
        if (move._tag === "converted") yield* repository.claimArtifact(move.optimized)
        const moved = yield* moves.move(record, move).pipe(Effect.catchTag("IllegalMove", Effect.die))
        if (moved === undefined) {
          yield* Effect.logInfo("A version was moved by somebody else while its stage ran").pipe(
            Effect.annotateLogs({ model: record.model, version })
          )
        }
      })

      return Pipeline.of({ advance })
    })
  )
}
