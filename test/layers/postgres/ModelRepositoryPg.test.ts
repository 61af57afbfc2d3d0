import { assert, describe, layer } from "@effect/vitest"
import { DateTime, Deferred, Effect, Fiber, Ref } from "effect"
import { SqlClient } from "effect/sql"
import { Sha256 } from "../../../src/domain/model/Artifact.ts"
import { Artifact } from "../../../src/domain/model/Artifact.ts"
import type { ModelId } from "../../../src/domain/model/Model.ts"
import { AliasName, ModelName } from "../../../src/domain/model/Model.ts"
import { Signature, TensorSpec } from "../../../src/domain/model/Signature.ts"
import type { VersionState } from "../../../src/domain/model/Version.ts"
import { VersionFailure } from "../../../src/domain/model/Version.ts"
import { ModelRepository } from "../../../src/services/ModelRepository.ts"
import * as Registry from "../../support/Registry.ts"

const digest = (digit: string) => Sha256.make(digit.repeat(64))
const artifact = new Artifact({ sha256: digest("a"), size: 3_000_000_000, format: "onnx" })
const optimized = new Artifact({ sha256: digest("b"), size: 7, format: "onnx" })
const signature = new Signature({
  inputs: [new TensorSpec({ name: "snake_case x", datatype: "INT64", shape: [-1, 4] })],
  outputs: [new TensorSpec({ name: "y", datatype: "FP32", shape: [] })]
})

describe("ModelRepositoryPg", () => {
  layer(Registry.layer, { excludeTestServices: true })((it) => {
    it.effect("keeps every state of a version as it was written, in order", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const model = yield* Registry.newModel(ModelName.make("states"))
        yield* Registry.insert(model)
        yield* repository.claimArtifact(artifact)
        yield* repository.claimArtifact(optimized)
        const life: ReadonlyArray<VersionState> = [
          { status: "uploaded", artifact },
          { status: "validating", artifact },
          { status: "converting", artifact, signature },
          { status: "deploying", artifact, signature, optimized },
          { status: "ready", artifact, signature, optimized },
          { status: "retired" }
        ]
        const version = { modelId: model.id, version: 1 }
        let from: VersionState = { status: "awaiting_upload" }
        for (const to of life) {
          assert.isTrue(yield* repository.advance(version, from.status, to, yield* DateTime.now))
          assert.isFalse(yield* repository.advance(version, from.status, to, yield* DateTime.now))
          assert.deepStrictEqual((yield* repository.findVersion("states", 1))?.state, to)
          from = to
        }
        const history = yield* repository.history(version, 0n)
        assert.deepStrictEqual(
          history.map(({ status }) => status),
          ["awaiting_upload", "uploaded", "validating", "converting", "deploying", "ready", "retired"]
        )
        assert.strictEqual((yield* repository.history(version, history[4]?.seq ?? 0n)).length, 2)
      }))

    it.effect("a failed version keeps its reason and no artifact", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const model = yield* Registry.newModel(ModelName.make("failing"))
        yield* Registry.insert(model)
        const failure = new VersionFailure({ stage: "validate", code: "not_onnx", message: "upload a model" })
        const version = { modelId: model.id, version: 1 }
        assert.isTrue(
          yield* repository.advance(version, "awaiting_upload", { status: "failed", failure }, yield* DateTime.now)
        )
        assert.deepStrictEqual((yield* repository.findVersion(model.id, 1))?.state, { status: "failed", failure })
      }))

    it.effect("refuses a name that is taken, and leaves nothing of the second", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const first = yield* Registry.newModel(ModelName.make("taken"))
        const second = yield* Registry.newModel(ModelName.make("taken"))
        yield* Registry.insert(first)
        const error = yield* Effect.flip(Registry.insert(second))
        assert.strictEqual(error._tag, "ModelNameTaken")
        assert.isUndefined(yield* repository.find(second.id))
        assert.strictEqual((yield* repository.find("taken"))?.model.id, first.id)
      }))

    it.effect("finds for many at once what each of them asked for, by name and by id", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const models = yield* Effect.forEach(["at-once-1", "at-once-2"], (name) =>
          Effect.tap(Registry.newModel(ModelName.make(name)), Registry.insert))
        const nobody = yield* Registry.newModel(ModelName.make("nobody"))
        const refs = models.flatMap(({ id, name }) => [id, name, id.toUpperCase(), name]).concat(nobody.id, "nobody")
        const found = yield* Effect.forEach(refs, repository.find, { concurrency: "unbounded" })
        assert.deepStrictEqual(
          found.map((record) =>
            record?.model.name
          ),
          [...models.flatMap(({ name }) => [name, name, name, name]), undefined, undefined]
        )
        assert.strictEqual(found[1], found[3])
      }))

    it.effect("finds what was written before it was asked, whatever others have asked meanwhile", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const model = yield* Registry.newModel(ModelName.make("fresh"))
        yield* Registry.insert(model)
        const others = yield* Effect.forkChild(Effect.forever(repository.find("fresh")))
        for (let n = 0; n < 50; n++) {
          yield* repository.update(model.id, { description: `${n}`, tags: [] }, yield* DateTime.now)
          assert.strictEqual((yield* repository.find("fresh"))?.model.description, `${n}`)
        }
        yield* Fiber.interrupt(others)
      }))

    it.effect("finds in a transaction what that has written, and nobody else does", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const sql = yield* SqlClient.SqlClient
        const model = yield* Registry.newModel(ModelName.make("unseen"))
        yield* Registry.insert(model)
        const written = yield* Deferred.make<void>()
        const looked = yield* Deferred.make<void>()
        const inside = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
          yield* repository.update(model.id, { description: "new", tags: [] }, yield* DateTime.now)
          yield* Deferred.succeed(written, undefined)
          yield* Deferred.await(looked)
          return yield* repository.find("unseen")
        })))
        yield* Deferred.await(written)
        assert.strictEqual((yield* repository.find("unseen"))?.model.description, "")
        yield* Deferred.succeed(looked, undefined)
        assert.strictEqual((yield* Fiber.join(inside))?.model.description, "new")
      }))

    it.effect("finds models by parts of their texts and by tag, and takes wildcards for themselves", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        yield* Registry.insert(yield* Registry.newModel(ModelName.make("find_me"), { tags: ["vision", "b"] }))
        yield* Registry.insert(yield* Registry.newModel(ModelName.make("find.me"), { tags: ["text"] }))
        const find = (text: string | undefined, tag: string | undefined) =>
          Effect.map(repository.list({ text, tag, before: undefined, limit: 10 }), (all) => all.map(({ name }) => name))
        assert.deepStrictEqual(yield* find("FIND_ME", undefined), ["find_me"])
        assert.deepStrictEqual(yield* find("find%me", undefined), [])
        assert.deepStrictEqual(yield* find(undefined, "vision"), ["find_me"])
        assert.deepStrictEqual(yield* find("find", "text"), ["find.me"])
      }))

    it.effect("pages stay right while rows are added", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const names = Array.from({ length: 7 }, (_, index) => ModelName.make(`page-${index}`))
        for (const name of names) yield* Registry.insert(yield* Registry.newModel(name, { tags: ["paged"] }))
        const seen: Array<string> = []
        let before: ModelId | undefined
        for (let turn = 0; turn < 4; turn++) {
          const page = yield* repository.list({ text: undefined, tag: "paged", before, limit: 2 })
          seen.push(...page.map(({ name }) => name))
          before = page.at(-1)?.id
          yield* Registry.insert(yield* Registry.newModel(ModelName.make(`page-new-${turn}`), { tags: ["paged"] }))
        }
        assert.deepStrictEqual(seen, names.toReversed())
      }))

    it.effect("aliases are part of the model and change its revision", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const model = yield* Registry.newModel(ModelName.make("aliased"))
        yield* Registry.insert(model)
        const production = AliasName.make("production")
        yield* repository.setAlias(model.id, production, 1, yield* DateTime.now)
        const found = yield* repository.find("aliased")
        assert.deepStrictEqual(found?.model.aliases, { [production]: 1 })
        assert.strictEqual(found?.revision, 2)
        assert.isTrue(yield* repository.removeAlias(model.id, production, yield* DateTime.now))
        assert.isFalse(yield* repository.removeAlias(model.id, production, yield* DateTime.now))
        assert.strictEqual((yield* repository.find("aliased"))?.revision, 3)
      }))

    it.effect("sweeps what nothing refers to, and never what is being claimed", () =>
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const sql = yield* SqlClient.SqlClient
        const model = yield* Registry.newModel(ModelName.make("sweeping"))
        yield* Registry.insert(model)
        const used = new Artifact({ sha256: digest("c"), size: 1, format: "onnx" })
        const claimed = new Artifact({ sha256: digest("d"), size: 1, format: "onnx" })
        const unused = new Artifact({ sha256: digest("e"), size: 1, format: "onnx" })
        yield* Effect.forEach([used, claimed, unused], repository.claimArtifact)
        yield* repository.advance(
          { modelId: model.id, version: 1 },
          "awaiting_upload",
          { status: "uploaded", artifact: used },
          yield* DateTime.now
        )
        const claims = yield* Deferred.make<void>()
        const done = yield* Deferred.make<void>()
        const claim = yield* Effect.forkChild(sql.withTransaction(Effect.gen(function*() {
          yield* repository.claimArtifact(claimed)
          yield* Deferred.succeed(claims, undefined)
          yield* Deferred.await(done)
        })))
        yield* Deferred.await(claims)
        const removed = yield* Ref.make<ReadonlyArray<string>>([])
        yield* repository.sweepArtifacts({ graceMillis: 0 }, (sha256) => Ref.update(removed, (all) => [...all, sha256]))
        yield* Deferred.succeed(done, undefined)
        yield* Fiber.join(claim)
        assert.include(yield* Ref.get(removed), unused.sha256)
        assert.notInclude(yield* Ref.get(removed), used.sha256)
        assert.notInclude(yield* Ref.get(removed), claimed.sha256)
        assert.isTrue(yield* repository.knowsArtifact(claimed.sha256))
        assert.isFalse(yield* repository.knowsArtifact(unused.sha256))
      }))
  })
})
