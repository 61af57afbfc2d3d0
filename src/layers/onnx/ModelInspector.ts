import * as NodeStream from "@effect/platform-node/NodeStream"
import { Duration, Effect, Predicate, Scope, Semaphore } from "effect"
import * as NodeFs from "node:fs"
import * as NodeFsPromises from "node:fs/promises"
import * as NodePath from "node:path"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import type { Sha256 } from "../../domain/model/Artifact.ts"
import { ModelRefused } from "../../domain/model/ModelRefused.ts"
import type { Signature } from "../../domain/model/Signature.ts"
import type { ArtifactStore, StagedArtifact } from "../../services/ArtifactStore.ts"
import { maxFrameBytes } from "./protocol/Limits.ts"
import type { Command } from "./protocol/Messages.ts"
import type { RunnerLimitsOptions } from "./RunnerLimits.ts"
import type { RunnerPool } from "./RunnerPool.ts"
import type { RunnerDeath, RunnerProcess } from "./RunnerProcess.ts"
import type { RunnerProgram } from "./RunnerProgram.ts"

export interface ModelInspector {
  readonly validate: (artifact: Sha256) => Effect.Effect<Signature, ModelRefused | DependencyUnavailable>
  readonly convert: (
    artifact: Sha256
  ) => Effect.Effect<StagedArtifact, ModelRefused | DependencyUnavailable, Scope.Scope>
}

/** What every command that opens a model says. */
export const loadOptions = ({ memoryBytes, threads }: RunnerLimitsOptions) => ({
  threads,
  maxInputBytes: Math.min(memoryBytes, maxFrameBytes)
})

/** A file with the artifact's bytes; that it is gone again while a version needs it is the storage's fault. */
export const localFile = (artifacts: ArtifactStore["Service"], artifact: Sha256) =>
  Effect.filterOrFail(
    artifacts.localFile(artifact),
    Predicate.isNotUndefined,
    () => new DependencyUnavailable({ dependency: "storage", retryAfterSeconds: 5 })
  )

/** Has a runner open a model, by any of the commands for it. */
export const open = (
  runner: RunnerProcess,
  command: Exclude<Command, { readonly type: "run" }>,
  limits: RunnerLimitsOptions
): Effect.Effect<Signature, ModelRefused> =>
  runner.ask(command, Duration.toMillis(limits.loadTimeout)).pipe(
    Effect.mapError((death) => refusalOf(death, command.type)),
    Effect.flatMap((reply) => {
      switch (reply.type) {
        case "opened":
          return Effect.succeed(reply.signature)
        case "refused":
          return Effect.fail(new ModelRefused({ code: reply.code, message: reply.message }))
        default:
          return Effect.fail(
            new ModelRefused({ code: "crashed", message: "The model took over the process that opened it" })
          )
      }
    })
  )

const doing = { validate: "validated", convert: "converted", load: "loaded" }

const refusalOf = ({ kind, reason }: RunnerDeath, command: keyof typeof doing): ModelRefused => {
  const what = `The model could not be ${doing[command]}: ${reason}`
  switch (kind) {
    case "deadline":
      return new ModelRefused({
        code: "deadline_exceeded",
        message: `${what}. Look for a loop that never ends, or make the model smaller`
      })
    case "memory":
      return new ModelRefused({
        code: "memory_exceeded",
        message: `${what}. Look for a tensor that grows without need, or make the model smaller`
      })
    case "crash":
    case "protocol":
    case "closed":
      return new ModelRefused({
        code: "crashed",
        message: `${what}. Check the model with onnx.checker, and export it again`
      })
  }
}

/** Looks into models that nobody trusts yet, each in a runner that is thrown away afterwards. */
export const make = (
  pool: RunnerPool,
  program: RunnerProgram,
  limits: RunnerLimitsOptions,
  artifacts: ArtifactStore["Service"]
): ModelInspector => {
  const inspections = Semaphore.makeUnsafe(limits.maxInspections)

  const validate = Effect.fn("ModelRuntime.validate")(
    function*(artifact: Sha256) {
      const path = yield* localFile(artifacts, artifact)
      const runner = yield* pool.take
      return yield* open(runner, { type: "validate", path, ...loadOptions(limits) }, limits)
    },
    Effect.scoped,
    inspections.withPermit
  )

  /** Has the optimised model written to a file that is there while the scope is open. */
  const optimize = Effect.fnUntraced(function*(artifact: Sha256) {
    const folder = yield* Effect.acquireRelease(
      Effect.promise(() => NodeFsPromises.mkdtemp(NodePath.join(program.directory, "converted-"))),
      (folder) => Effect.promise(() => NodeFsPromises.rm(folder, { recursive: true, force: true }))
    )
    const target = NodePath.join(folder, "model.onnx")
    // The runner is gone before its file is read: from then on nobody changes it.
    yield* Effect.scoped(Effect.gen(function*() {
      const path = yield* localFile(artifacts, artifact)
      const runner = yield* pool.take
      yield* open(runner, { type: "convert", path, target, ...loadOptions(limits) }, limits)
    }))
    return target
  })

  const stage = (target: string) =>
    artifacts.stage(
      NodeStream.fromReadable({
        evaluate: () => NodeFs.createReadStream(target),
        onError: () => new DependencyUnavailable({ dependency: "runners", retryAfterSeconds: 1 }),
        chunkSize: 16
      }),
      { maxBytes: limits.memoryBytes }
    ).pipe(
      Effect.catchTag("ArtifactTooLarge", ({ message }) =>
        Effect.fail(
          new ModelRefused({
            code: "conversion_failed",
            message:
              `The optimised model is too large: ${message}. Look for a large constant computed from a few numbers`
          })
        ))
    )

  // The staged bytes outlive the file: they are the caller's, until its scope closes.
  const convert = Effect.fn("ModelRuntime.convert")((artifact: Sha256) =>
    inspections.withPermit(Effect.gen(function*() {
      const scope = yield* Effect.scope
      return yield* Effect.scoped(
        Effect.flatMap(optimize(artifact), (target) => Scope.provide(stage(target), scope))
      )
    }))
  )

  return { validate, convert }
}
