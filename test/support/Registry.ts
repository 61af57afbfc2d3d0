import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert } from "@effect/vitest"
import { DateTime, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { ModelName } from "../../src/domain/model/Model.ts"
import { Model, ModelId } from "../../src/domain/model/Model.ts"
import * as ApiKeyRepositoryPg from "../../src/layers/postgres/ApiKeyRepositoryPg.ts"
import * as IdempotencyPg from "../../src/layers/postgres/IdempotencyPg.ts"
import * as Migrations from "../../src/layers/postgres/Migrations.ts"
import * as ModelChangesPg from "../../src/layers/postgres/ModelChangesPg.ts"
import * as ModelRepositoryPg from "../../src/layers/postgres/ModelRepositoryPg.ts"
import * as TransactionPg from "../../src/layers/postgres/TransactionPg.ts"
import { ModelRepository } from "../../src/services/ModelRepository.ts"
import { layerFresh } from "./Postgres.ts"

/** Every repository on a fresh database with the program's own tables. */
export const layer = Layer.mergeAll(
  ModelRepositoryPg.layer,
  ApiKeyRepositoryPg.layer,
  IdempotencyPg.layer,
  ModelChangesPg.layer,
  TransactionPg.layer
).pipe(
  Layer.provideMerge(Migrations.layer),
  Layer.provideMerge(layerFresh),
  Layer.provideMerge(SecureRandom.layerWebCrypto),
  Layer.provideMerge(NodeServices.layer)
)

/** A model as it would be created now. */
export const newModel = Effect.fnUntraced(
  function*(name: ModelName, fields: { readonly tags?: ReadonlyArray<string> } = {}) {
    const random = yield* SecureRandom.SecureRandom
    const now = yield* DateTime.now
    return new Model({
      id: ModelId.make(yield* random.uuidV7()),
      name,
      description: "",
      tags: fields.tags ?? [],
      owner: "test",
      aliases: {},
      latestVersion: 1,
      createdAt: now,
      updatedAt: now
    })
  }
)

/** Keeps the model as if it had been created just now. */
export const insert = Effect.fnUntraced(function*(model: Model) {
  const repository = yield* ModelRepository
  yield* repository.record(model)
  assert.strictEqual(yield* repository.reserve(model.id, 0, { models: 1_000, bytes: 1_000_000 }), "reserved")
  assert.isTrue(yield* repository.register(model.id, model.createdAt))
})
