import { Context, DateTime, Effect, Layer, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { DependencyUnavailable, usualOutageSeconds } from "../domain/DependencyUnavailable.ts"
import type { AliasName, ModelDraft } from "../domain/model/Model.ts"
import { ModelId } from "../domain/model/Model.ts"
import type {
  ModelNameTaken,
  StorageQuotaReached,
  VersionNotFound,
  VersionStateConflict
} from "../domain/model/ModelErrors.ts"
import { AliasNotFound, ModelChanged, ModelNotFound } from "../domain/model/ModelErrors.ts"
import type { VersionNumber } from "../domain/model/Version.ts"
import { Sagas } from "../saga/Sagas.ts"
import type { Upload } from "./CreateModel.ts"
import { createModel } from "./CreateModel.ts"
import { deleteModel } from "./DeleteModel.ts"
import { ModelChanges } from "./ModelChanges.ts"
import { ModelEvents } from "./ModelEvents.ts"
import type { ModelRecord, ModelRef } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { repointAlias } from "./RepointAlias.ts"
import { Transaction } from "./Transaction.ts"

export interface ModelPatch {
  readonly description?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}

/** Nobody knows yet whether the model will be made or given up: the saga with its id decides that. */
export class CreationUnderWay extends Schema.TaggedError<CreationUnderWay>()("CreationUnderWay", { id: ModelId }) {}

export interface Creation {
  readonly draft: typeof ModelDraft.Type
  readonly owner: string
  /** The same for each attempt at the same creation: who repeats one that is under way or done gets that one. */
  readonly id: ModelId
  /** What its version 1 is made of. The staged bytes are taken over. */
  readonly upload: Upload | null
}

/** How long a caller waits for a saga: a little longer than sagas take until they turn back. */
const patience = { creation: "9 seconds", deletion: "5 seconds", repointing: "21 seconds" } as const

const registryAway = Effect.fail(
  new DependencyUnavailable({ dependency: "registry", retryAfterSeconds: usualOutageSeconds })
)

/** How a saga can end for its caller besides by the errors of its steps. */
const stopped = {
  JournalUnavailable: () =>
    Effect.fail(new DependencyUnavailable({ dependency: "postgres", retryAfterSeconds: usualOutageSeconds })),
  SagaCancelled: () => registryAway,
  SagaDeadlineExceeded: () => registryAway
}

/**
 * Creates, changes and deletes models and their aliases. A change of the database alone is one transaction with its
 * event; what changes other places too is a saga.
 */
export class Models extends Context.Service<Models, {
  readonly create: (
    creation: Creation
  ) => Effect.Effect<
    ModelRecord,
    ModelNameTaken | StorageQuotaReached | CreationUnderWay | DependencyUnavailable
  >
  readonly get: (ref: ModelRef) => Effect.Effect<ModelRecord, ModelNotFound | DependencyUnavailable>
  readonly list: ModelRepository["Service"]["list"]
  /** `revisions`, where given, are those that the caller would change: any other has been changed meanwhile. */
  readonly update: (
    ref: ModelRef,
    patch: ModelPatch,
    revisions: ReadonlyArray<number> | undefined
  ) => Effect.Effect<ModelRecord, ModelNotFound | ModelChanged | DependencyUnavailable>
  /** Answers the id of the saga that goes on with it, where not all is gone yet. */
  readonly remove: (
    ref: ModelRef,
    revisions: ReadonlyArray<number> | undefined
  ) => Effect.Effect<string | undefined, ModelNotFound | ModelChanged | DependencyUnavailable>
  /** Points the alias at a version that is `ready`, and loaded. */
  readonly setAlias: (
    ref: ModelRef,
    alias: AliasName,
    version: VersionNumber
  ) => Effect.Effect<ModelRecord, ModelNotFound | VersionNotFound | VersionStateConflict | DependencyUnavailable>
  readonly removeAlias: (
    ref: ModelRef,
    alias: AliasName
  ) => Effect.Effect<void, ModelNotFound | AliasNotFound | DependencyUnavailable>
}>()("maas/services/Models") {
  static readonly layer = Layer.effect(
    Models,
    Effect.gen(function*() {
      const repository = yield* ModelRepository
      const events = yield* ModelEvents
      const changes = yield* ModelChanges
      const transaction = yield* Transaction
      const random = yield* SecureRandom.SecureRandom
      const sagas = yield* Sagas
      const creation = yield* sagas.register(createModel)
      const deletion = yield* sagas.register(deleteModel)
      const repointing = yield* sagas.register(repointAlias)

      const get = Effect.fn("Models.get")(function*(ref: ModelRef) {
        return (yield* repository.find(ref)) ?? (yield* new ModelNotFound({ model: ref }))
      })

      /** The model, held against changes by others until the transaction ends. */
      const hold = Effect.fnUntraced(function*(ref: ModelRef) {
        return (yield* repository.lock(ref)) ?? (yield* new ModelNotFound({ model: ref }))
      })
      /** As `hold`, if it is what the caller has read. */
      const holdUnchanged = Effect.fnUntraced(function*(ref: ModelRef, revisions: ReadonlyArray<number> | undefined) {
        const found = yield* hold(ref)
        return revisions === undefined || revisions.includes(found.revision)
          ? found
          : yield* new ModelChanged({ model: found.model.name })
      })

      const create = Effect.fn("Models.create")(function*(input: Creation) {
        const { id } = input
        const underWay = Effect.suspend(() => Effect.fail(new CreationUnderWay({ id })))
        const model = yield* creation.execute(id, input).pipe(
          // The same creation, but that its upload was staged anew: the first one is the one that counts.
          Effect.catchTag("SagaIdReused", () => Effect.catchTag(creation.wait(id), "SagaNotFound", Effect.die)),
          Effect.timeoutOrElse({ duration: patience.creation, orElse: () => underWay }),
          Effect.catchTags({
            ...stopped,
            JournalUnavailable: () => underWay,
            SagaParked: () => underWay,
            UploadLost: () => Effect.fail(new DependencyUnavailable({ dependency: "storage", retryAfterSeconds: 1 }))
          })
        )
        return { model, revision: 1 }
      })

      const update = Effect.fn("Models.update")(
        function*(ref: ModelRef, patch: ModelPatch, revisions: ReadonlyArray<number> | undefined) {
          const now = yield* DateTime.now
          const { model } = yield* holdUnchanged(ref, revisions)
          yield* repository.update(model.id, {
            description: patch.description ?? model.description,
            tags: patch.tags ?? model.tags
          }, now)
          yield* events.publish(model, [{ type: "model.updated", data: {} }], now)
          return yield* get(model.id)
        },
        transaction.run
      )

      const remove = Effect.fn("Models.remove")(
        function*(ref: ModelRef, revisions: ReadonlyArray<number> | undefined) {
          const { model, revision } = yield* get(ref)
          if (revisions !== undefined && !revisions.includes(revision)) {
            return yield* new ModelChanged({ model: model.name })
          }
          const sagaId = yield* random.uuidV7()
          return yield* deletion.execute(sagaId, { id: model.id, revisions: revisions ?? null }).pipe(
            Effect.as(undefined),
            Effect.timeoutOrElse({ duration: patience.deletion, orElse: () => Effect.succeed(sagaId) }),
            Effect.catchTags({ ...stopped, SagaParked: () => Effect.succeed(sagaId), SagaIdReused: Effect.die })
          )
        }
      )

      const setAlias = Effect.fn("Models.setAlias")(
        function*(ref: ModelRef, alias: AliasName, version: VersionNumber) {
          const { model } = yield* get(ref)
          const sagaId = yield* random.uuidV7()
          yield* repointing.execute(sagaId, { id: model.id, alias, version }).pipe(
            Effect.timeoutOrElse({ duration: patience.repointing, orElse: () => registryAway }),
            Effect.catchTags({ ...stopped, SagaParked: () => registryAway, SagaIdReused: Effect.die })
          )
          return yield* get(model.id)
        }
      )

      const removeAlias = Effect.fn("Models.removeAlias")(
        function*(ref: ModelRef, alias: AliasName) {
          const now = yield* DateTime.now
          const { model } = yield* hold(ref)
          const removed = yield* repository.removeAlias(model.id, alias, now)
          if (!removed) return yield* new AliasNotFound({ model: model.name, alias })
          yield* events.publish(model, [{ type: "alias.removed", data: { alias } }], now)
          yield* changes.announce(model.id)
        },
        transaction.run
      )

      return Models.of({ create, get, list: repository.list, update, remove, setAlias, removeAlias })
    })
  )
}
