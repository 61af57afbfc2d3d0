import { Context, Effect, Layer } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { ModelId } from "../domain/model/Model.ts"
import type { ModelRefused } from "../domain/model/ModelRefused.ts"
import type { Converting, Deploying, Validating, VersionNumber } from "../domain/model/Version.ts"
import type { Move } from "../domain/model/VersionLifecycle.ts"
import type { VersionRecord } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { ModelRuntime } from "./ModelRuntime.ts"
import { Transaction } from "./Transaction.ts"
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
      const transaction = yield* Transaction

      /** Settles a version that somebody else may move, or remove, while its stage runs. */
      const settle = Effect.fnUntraced(function*(record: VersionRecord, move: Move) {
        const moved = yield* moves.move(record, move).pipe(Effect.catchTag("IllegalMove", Effect.die))
        if (moved === undefined) {
          yield* Effect.logInfo("A version was moved by somebody else while its stage ran").pipe(
            Effect.annotateLogs({ model: record.model, version: record.version })
          )
        }
      })

      const validate = Effect.fn("validate")(function*(record: VersionRecord, { artifact }: Validating) {
        const signature = yield* runtime.validate(artifact.sha256)
        yield* settle(record, { _tag: "validated", signature })
      })

      const convert = Effect.fn("convert")(function*(record: VersionRecord, { artifact }: Converting) {
        const staged = yield* runtime.convert(artifact.sha256)
        // Claimed before it is published, so that no sweep takes bytes that are about to be referred to
        yield* transaction.run(Effect.all([
          repository.claimArtifact(staged.artifact),
          staged.publish,
          settle(record, { _tag: "converted", optimized: staged.artifact })
        ], { discard: true }))
      }, Effect.scoped)

      const deploy = Effect.fn("deploy")(function*(record: VersionRecord, { optimized, signature }: Deploying) {
        const { modelId, model, version } = record
        yield* runtime.deploy({ modelId, model, version, artifact: optimized.sha256, signature })
        yield* settle(record, { _tag: "deployed" })
      })

      const work = (record: VersionRecord): Effect.Effect<void, ModelRefused | DependencyUnavailable> => {
        switch (record.state.status) {
          case "uploaded":
            return settle(record, { _tag: "startValidation" })
          case "validating":
            return validate(record, record.state)
          case "converting":
            return convert(record, record.state)
          case "deploying":
            return deploy(record, record.state)
          case "awaiting_upload":
          case "ready":
          case "failed":
          case "retired":
            return Effect.void
        }
      }

      const advance = Effect.fn("Pipeline.advance")(function*(modelId: ModelId, version: VersionNumber) {
        const record = yield* repository.findVersion(modelId, version)
        if (record === undefined) return
        yield* work(record).pipe(
          Effect.catchTag("ModelRefused", ({ code, message }) => settle(record, { _tag: "fail", code, message }))
        )
      })

      return Pipeline.of({ advance })
    })
  )
}
