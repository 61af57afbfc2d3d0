import { Context, DateTime, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { AliasName, ModelDraft } from "../domain/model/Model.ts"
import { Model, ModelId } from "../domain/model/Model.ts"
import type { ModelNameTaken } from "../domain/model/ModelErrors.ts"
import {
  AliasNotFound,
  ModelChanged,
  ModelNotFound,
  VersionNotFound,
  VersionStateConflict
} from "../domain/model/ModelErrors.ts"
import type { VersionNumber } from "../domain/model/Version.ts"
import { ModelChanges } from "./ModelChanges.ts"
import { ModelEvents } from "./ModelEvents.ts"
import type { ModelRecord, ModelRef } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { Transaction } from "./Transaction.ts"

export interface ModelPatch {
  readonly description?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
}

/** Creates, changes and deletes models and their aliases. Every change and its event are one transaction. */
export class Models extends Context.Service<Models, {
  readonly create: (
    draft: typeof ModelDraft.Type,
    owner: string
  ) => Effect.Effect<ModelRecord, ModelNameTaken | DependencyUnavailable>
  readonly get: (ref: ModelRef) => Effect.Effect<ModelRecord, ModelNotFound | DependencyUnavailable>
  readonly list: ModelRepository["Service"]["list"]
  /** `revisions`, where given, are those that the caller would change: any other has been changed meanwhile. */
  readonly update: (
    ref: ModelRef,
    patch: ModelPatch,
    revisions: ReadonlyArray<number> | undefined
  ) => Effect.Effect<ModelRecord, ModelNotFound | ModelChanged | DependencyUnavailable>
  readonly remove: (
    ref: ModelRef,
    revisions: ReadonlyArray<number> | undefined
  ) => Effect.Effect<void, ModelNotFound | ModelChanged | DependencyUnavailable>
  /** Points the alias at a version that is `ready`. */
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

      const create = Effect.fn("Models.create")(function*(draft: typeof ModelDraft.Type, owner: string) {
        const now = yield* DateTime.now
        const model = new Model({
          ...draft,
          id: ModelId.make(yield* random.uuidV7()),
          owner,
          aliases: {},
          latestVersion: 1,
          createdAt: now,
          updatedAt: now
        })
        yield* transaction.run(Effect.andThen(
          repository.insert(model),
          events.publish(model, [
            { type: "model.created", data: { owner } },
            { type: "version.awaiting_upload", data: { version: 1 } }
          ], now)
        ))
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
          const { model } = yield* holdUnchanged(ref, revisions)
          yield* repository.remove(model.id)
          yield* events.publish(model, [{ type: "model.deleted", data: {} }], yield* DateTime.now)
          yield* changes.announce(model.id)
        },
        transaction.run
      )

      const setAlias = Effect.fn("Models.setAlias")(
        function*(ref: ModelRef, alias: AliasName, version: VersionNumber) {
          const now = yield* DateTime.now
          const { model } = yield* hold(ref)
          const target = yield* repository.findVersion(model.id, version)
          if (target === undefined) return yield* new VersionNotFound({ model: model.name, version })
          if (target.state.status !== "ready") {
            return yield* new VersionStateConflict({
              model: model.name,
              version,
              status: target.state.status,
              wanted: "an alias can only stand for a version that is ready"
            })
          }
          yield* repository.setAlias(model.id, alias, version, now)
          yield* events.publish(model, [{ type: "alias.set", data: { alias, version } }], now)
          yield* changes.announce(model.id)
          return yield* get(model.id)
        },
        transaction.run
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
