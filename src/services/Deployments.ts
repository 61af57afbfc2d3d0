import { Context, Effect, Layer, Stream } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { NoVersionReady, VersionNotReady } from "../domain/inference/InferenceErrors.ts"
import type { AliasName } from "../domain/model/Model.ts"
import { AliasNotFound, ModelNotFound, VersionNotFound } from "../domain/model/ModelErrors.ts"
import type { VersionNumber } from "../domain/model/Version.ts"
import { hitsAndMisses, show } from "../resilience/PulledMetrics.ts"
import { ModelChanges } from "./ModelChanges.ts"
import type { ModelRef, VersionRecord } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import type { Deployment } from "./ModelRuntime.ts"

/** Which version of a model is meant: that number, what the alias stands for, or the highest that is ready. */
export type VersionChoice =
  | { readonly _tag: "number"; readonly version: VersionNumber }
  | { readonly _tag: "alias"; readonly alias: AliasName }
  | { readonly _tag: "latest" }

export type Unresolved = ModelNotFound | VersionNotFound | AliasNotFound | VersionNotReady | NoVersionReady

const cacheSize = 1_000

/** Finds what to run for a call. Answers are kept until the model changes, so that a call needs no database. */
export class Deployments extends Context.Service<Deployments, {
  readonly resolve: (
    ref: ModelRef,
    choice: VersionChoice
  ) => Effect.Effect<Deployment, Unresolved | DependencyUnavailable>
}>()("maas/services/Deployments") {
  static readonly layer = Layer.effect(
    Deployments,
    Effect.gen(function*() {
      const repository = yield* ModelRepository
      const changes = yield* ModelChanges
      const known = new Map<string, Deployment>()
      // An answer that was read before a change must not be kept after it
      let epoch = 0
      const answers = { hit: 0, miss: 0 }
      yield* show(hitsAndMisses("deployments", answers))

      yield* changes.stream.pipe(
        Stream.runForEach((change) =>
          Effect.sync(() => {
            epoch++
            if (change._tag === "all") known.clear()
            else for (const [key, { modelId }] of known) if (modelId === change.modelId) known.delete(key)
          })
        ),
        Effect.forkScoped
      )

      const model = Effect.fnUntraced(function*(ref: ModelRef) {
        return ((yield* repository.find(ref)) ?? (yield* new ModelNotFound({ model: ref }))).model
      })

      const version = Effect.fnUntraced(function*(ref: ModelRef, number: VersionNumber) {
        const found = yield* repository.findVersion(ref, number)
        if (found !== undefined) return found
        const { name } = yield* model(ref)
        return yield* new VersionNotFound({ model: name, version: number })
      })

      const find = Effect.fn("Deployments.find")(function*(ref: ModelRef, choice: VersionChoice) {
        switch (choice._tag) {
          case "number":
            return yield* version(ref, choice.version)
          case "alias": {
            const { name, aliases } = yield* model(ref)
            const target = aliases[choice.alias]
            return target === undefined
              ? yield* new AliasNotFound({ model: name, alias: choice.alias })
              : yield* version(ref, target)
          }
          case "latest": {
            const latest = yield* repository.latestReady(ref)
            if (latest !== undefined) return latest
            const { name } = yield* model(ref)
            return yield* new NoVersionReady({ model: name })
          }
        }
      })

      const toDeployment = ({ modelId, model, version, state }: VersionRecord) =>
        state.status === "ready"
          ? Effect.succeed<Deployment>({
            modelId,
            model,
            version,
            artifact: state.optimized.sha256,
            signature: state.signature
          })
          : new VersionNotReady({ model, version, status: state.status })

      const look = Effect.fnUntraced(function*(key: string, ref: ModelRef, choice: VersionChoice) {
        const before = epoch
        const deployment = yield* Effect.flatMap(find(ref, choice), toDeployment)
        if (before === epoch) {
          if (known.size >= cacheSize) known.clear()
          known.set(key, deployment)
        }
        return deployment
      })

      const keyOf = (ref: ModelRef, choice: VersionChoice) => {
        switch (choice._tag) {
          case "number":
            return `${ref}/${choice.version}`
          case "alias":
            return `${ref}/${choice.alias}`
          case "latest":
            return ref
        }
      }

      return Deployments.of({
        resolve: (ref, choice) =>
          Effect.suspend(() => {
            const key = keyOf(ref, choice)
            const hit = known.get(key)
            if (hit === undefined) {
              answers.miss++
              return look(key, ref, choice)
            }
            answers.hit++
            return Effect.succeed(hit)
          })
      })
    })
  )
}
