/**
 * A model comes to be in two places, the database and the store of artifacts, that know no common transaction. So it is
 * a saga: recorded under its name, given a place within its owner's quota, and then, in one transaction with the events
 * that say so, registered for everybody to see. What fails before that leaves nothing behind.
 */
import { DateTime, Effect, Option, Schedule, Schema } from "effect"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { Artifact } from "../domain/model/Artifact.ts"
import { Model, ModelDraft, ModelId } from "../domain/model/Model.ts"
import { ModelNameTaken, StorageQuotaReached, UploadLost } from "../domain/model/ModelErrors.ts"
import { firstEpoch } from "../saga/Journal.ts"
import * as Saga from "../saga/Saga.ts"
import * as Step from "../saga/Step.ts"
import { ArtifactSweep } from "./ArtifactSweep.ts"
import { ModelEvents } from "./ModelEvents.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { ModelStorage } from "./ModelStorage.ts"
import { StorageQuota } from "./StorageQuota.ts"
import { VersionMoves } from "./VersionMoves.ts"

/** An upload that waits in the store under `staged`. */
export const Upload = Schema.Struct({ staged: Schema.String, artifact: Artifact })
export type Upload = typeof Upload.Type

export const NewModel = Schema.Struct({
  id: ModelId,
  draft: Schema.toType(ModelDraft),
  owner: Schema.String,
  upload: Schema.NullOr(Upload)
})
export type NewModel = typeof NewModel.Type

/** A server that was restarted is often back by then. */
const passing = Schedule.exponential("100 millis").pipe(
  Schedule.upTo({ times: 2 }),
  Schedule.while(({ input }: { readonly input: { readonly _tag: string } }) => input._tag === "DependencyUnavailable")
)

const saveToDatabase = ({ draft, id, owner }: NewModel) =>
  Step.compensatable({
    name: "save_to_db",
    output: Model,
    error: Schema.Union([ModelNameTaken, DependencyUnavailable]),
    transactional: true,
    retry: passing,
    action: Effect.fnUntraced(function*() {
      const now = yield* DateTime.now
      const model = new Model({
        ...draft,
        id,
        owner,
        aliases: {},
        latestVersion: 1,
        createdAt: now,
        updatedAt: now
      })
      yield* ModelRepository.use(({ record }) => record(model))
      return model
    }),
    compensate: () => ModelRepository.use(({ discard }) => discard(id))
  })

const allocateStorage = ({ id, owner, upload }: NewModel) =>
  Step.compensatable({
    name: "allocate_storage",
    error: Schema.Union([StorageQuotaReached, UploadLost, DependencyUnavailable]),
    retry: passing,
    action: Effect.fnUntraced(function*({ checkFence }) {
      const limits = yield* StorageQuota
      const storage = yield* ModelStorage
      const repository = yield* ModelRepository
      yield* checkFence
      const answer = yield* repository.reserve(id, upload?.artifact.size ?? 0, limits)
      if (answer === "models" || answer === "bytes") {
        return yield* new StorageQuotaReached({ owner, of: answer, limit: limits[answer] })
      }
      yield* storage.allocate(id, upload?.staged)
    }),
    compensate: Effect.fnUntraced(function*(output, { epoch }) {
      const storage = yield* ModelStorage
      // Who made the place is done with it where that is known and nobody else has ever run this saga.
      yield* Option.isSome(output) && epoch === firstEpoch ? storage.release(id) : storage.fenceOff(id)
      if (upload === null) return
      // A transaction that was to register them may have given the bytes their address before it was rolled back.
      yield* ModelRepository.use(({ claimArtifact }) => claimArtifact(upload.artifact))
      yield* ArtifactSweep.use(({ sweepOf }) => sweepOf([upload.artifact.sha256]))
    })
  })

const publishEvent = (model: Model, { id, owner, upload }: NewModel) =>
  Step.pivot({
    name: "publish_event",
    error: Schema.Union([UploadLost, DependencyUnavailable]),
    transactional: true,
    retry: passing,
    action: Effect.fnUntraced(function*() {
      const repository = yield* ModelRepository
      const events = yield* ModelEvents
      const now = yield* DateTime.now
      // Held until the commit, so that a sweep can't take the bytes away between the rename and the row
      if (upload !== null) yield* repository.claimArtifact(upload.artifact)
      const registered = yield* repository.register(id, now)
      if (!registered) return yield* Effect.die(new Error(`the recorded model ${id} is gone`))
      yield* events.publish(model, [
        { type: "model.created", data: { owner } },
        { type: "version.awaiting_upload", data: { version: 1 } }
      ], now)
      if (upload === null) return
      yield* ModelStorage.use(({ publish }) => publish(id, upload.artifact))
      const version = yield* repository.findVersion(id, 1)
      if (version === undefined) return yield* Effect.die(new Error(`the version that ${id} has just got is gone`))
      yield* Effect.flatMap(VersionMoves, ({ move }) => move(version, { _tag: "upload", artifact: upload.artifact }))
        .pipe(
          Effect.catchTag("IllegalMove", Effect.die)
        )
    })
  })

/** Named for its span. Its id is the model's. */
export const createModel = Saga.make(
  "create_model",
  { version: 1, input: NewModel, deadline: "8 seconds" },
  function*(input) {
    const model = yield* saveToDatabase(input)
    yield* allocateStorage(input)
    yield* publishEvent(model, input)
    return model
  }
)
