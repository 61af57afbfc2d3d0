/**
 * A model leaves in three places: the database, the runtimes that have it loaded, and the store of artifacts. It is gone
 * for everybody with the first step, from which there is no way back; the others are repeated until they are done, be it
 * by another process.
 */
import { DateTime, Effect, Schema } from "effect"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { Sha256 } from "../domain/model/Artifact.ts"
import { ModelId } from "../domain/model/Model.ts"
import { ModelChanged, ModelNotFound } from "../domain/model/ModelErrors.ts"
import * as Saga from "../saga/Saga.ts"
import * as Step from "../saga/Step.ts"
import { ArtifactSweep } from "./ArtifactSweep.ts"
import { ModelChanges } from "./ModelChanges.ts"
import { ModelEvents } from "./ModelEvents.ts"
import { ModelLoading } from "./ModelLoading.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { ModelStorage } from "./ModelStorage.ts"

export const ModelToDelete = Schema.Struct({
  id: ModelId,
  /** Those that the caller would delete; null for whatever it is by now. */
  revisions: Schema.NullOr(Schema.Array(Schema.Int))
})
export type ModelToDelete = typeof ModelToDelete.Type

const retire = ({ id, revisions }: ModelToDelete) =>
  Step.pivot({
    name: "retire",
    output: Schema.Array(Sha256),
    error: Schema.Union([ModelNotFound, ModelChanged, DependencyUnavailable]),
    transactional: true,
    action: Effect.fnUntraced(function*() {
      const repository = yield* ModelRepository
      const events = yield* ModelEvents
      const changes = yield* ModelChanges
      const found = yield* repository.lock(id)
      if (found === undefined) return yield* new ModelNotFound({ model: id })
      const { model, revision } = found
      if (revisions !== null && !revisions.includes(revision)) return yield* new ModelChanged({ model: model.name })
      const now = yield* DateTime.now
      const artifacts = yield* repository.retire(id, now)
      yield* events.publish(model, [{ type: "model.deleted", data: {} }], now)
      yield* changes.announce(id)
      return artifacts
    })
  })

const unload = ({ id }: ModelToDelete) =>
  Step.retriable({
    name: "unload",
    action: () => ModelLoading.use((runtime) => runtime.unload(id, undefined))
  })

const removeArtifacts = ({ id }: ModelToDelete, artifacts: ReadonlyArray<Sha256>) =>
  Step.retriable({
    name: "remove_artifacts",
    error: DependencyUnavailable,
    action: Effect.fnUntraced(function*() {
      yield* ModelStorage.use(({ release }) => release(id))
      // What other models use as well stays.
      yield* ArtifactSweep.use(({ sweepOf }) => sweepOf(artifacts))
    })
  })

const forget = ({ id }: ModelToDelete) =>
  Step.retriable({
    name: "forget",
    error: DependencyUnavailable,
    transactional: true,
    action: () => ModelRepository.use((repository) => repository.forget(id))
  })

/** Named for its span. */
export const deleteModel = Saga.make("delete_model", { version: 1, input: ModelToDelete }, function*(input) {
  const artifacts = yield* retire(input)
  yield* unload(input)
  yield* removeArtifacts(input, artifacts)
  yield* forget(input)
})
