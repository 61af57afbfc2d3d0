/**
 * An alias stands for a version in the database, and the version has to be loaded by the runtime, which knows nothing of
 * the database's transactions. So the version is loaded first, where it is not any more: who calls the alias never meets
 * a version that can't be loaded, nor waits for it. A runtime that is away holds nobody up: it will load what is asked
 * for when it is back.
 */
import { DateTime, Effect, Schema } from "effect"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { AliasName, ModelId } from "../domain/model/Model.ts"
import { ModelNotFound, VersionNotFound, VersionStateConflict } from "../domain/model/ModelErrors.ts"
import { VersionNumber } from "../domain/model/Version.ts"
import * as Saga from "../saga/Saga.ts"
import * as Step from "../saga/Step.ts"
import { ModelChanges } from "./ModelChanges.ts"
import { ModelEvents } from "./ModelEvents.ts"
import { ModelLoading } from "./ModelLoading.ts"
import type { ModelRecord, VersionRecord } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"

export const Repointing = Schema.Struct({ id: ModelId, alias: AliasName, version: VersionNumber })
export type Repointing = typeof Repointing.Type

const conflict = ({ model, state, version }: VersionRecord, wanted: string) =>
  new VersionStateConflict({ model, version, status: state.status, wanted })

/** The version that the alias is to stand for, if it can be called. */
const readyVersion = Effect.fnUntraced(function*(found: ModelRecord | undefined, { id, version }: Repointing) {
  if (found === undefined) return yield* new ModelNotFound({ model: id })
  const record = yield* ModelRepository.use(({ findVersion }) => findVersion(id, version))
  if (record === undefined) return yield* new VersionNotFound({ model: found.model.name, version })
  if (record.state.status !== "ready") {
    return yield* conflict(record, "an alias can only stand for a version that is ready")
  }
  return { model: found.model, record, state: record.state }
})

const errors = [ModelNotFound, VersionNotFound, VersionStateConflict, DependencyUnavailable] as const

const loadVersion = (input: Repointing) =>
  Step.compensatable({
    name: "load_version",
    error: Schema.Union(errors),
    action: Effect.fnUntraced(function*() {
      const found = yield* ModelRepository.use(({ find }) => find(input.id))
      const { record, state } = yield* readyVersion(found, input)
      const { model, modelId, version } = record
      const deployment = { modelId, model, version, artifact: state.optimized.sha256, signature: state.signature }
      yield* ModelLoading.use(({ deploy }) => deploy(deployment)).pipe(
        Effect.catchTag("ModelRefused", ({ message }) => conflict(record, `it can't be loaded any more: ${message}`))
      )
    }),
    // A version that is loaded and not called gives way to others by itself.
    compensate: Step.nothingToUndo
  })

const setAlias = (input: Repointing) =>
  Step.pivot({
    name: "set_alias",
    error: Schema.Union(errors),
    transactional: true,
    action: Effect.fnUntraced(function*() {
      const { alias, id, version } = input
      const repository = yield* ModelRepository
      const events = yield* ModelEvents
      const changes = yield* ModelChanges
      const { model } = yield* readyVersion(yield* repository.lock(id), input)
      const now = yield* DateTime.now
      yield* repository.setAlias(id, alias, version, now)
      yield* events.publish(model, [{ type: "alias.set", data: { alias, version } }], now)
      yield* changes.announce(id)
    })
  })

/** Named for its span. */
export const repointAlias = Saga.make(
  "repoint_alias",
  { version: 1, input: Repointing, deadline: "20 seconds" },
  function*(input) {
    yield* Saga.catchTag(loadVersion(input), "DependencyUnavailable", () => Saga.succeed(undefined))
    yield* setAlias(input)
  }
)
