import { Effect, Layer, Stream } from "effect"
import type { ModelChange } from "./ModelChanges.ts"
import { ModelChanges } from "./ModelChanges.ts"
import { ModelRepository } from "./ModelRepository.ts"
import type { Deployment } from "./ModelRuntime.ts"
import { ModelRuntime } from "./ModelRuntime.ts"

/**
 * Ends the processes of versions that are gone, in every process that has some: whoever deletes a version knows no
 * more of runtimes than that they listen. A database that can't be asked is asked again with the next change, of which
 * there is one as soon as it is back.
 */
export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const changes = yield* ModelChanges
  const repository = yield* ModelRepository
  const runtime = yield* ModelRuntime

  const unloadIfGone = Effect.fnUntraced(function*({ modelId, version }: Deployment) {
    const status = (yield* repository.findVersion(modelId, version))?.state.status
    if (status === undefined || status === "retired") yield* runtime.unload(modelId, version)
  })
  const look = Effect.fn("Retirement.look")(function*(change: ModelChange) {
    const loaded = yield* runtime.loaded
    const concerned = change._tag === "all" ? loaded : loaded.filter(({ modelId }) => modelId === change.modelId)
    yield* Effect.forEach(concerned, unloadIfGone, { discard: true })
  })
  yield* changes.stream.pipe(
    Stream.runForEach((change) =>
      Effect.catch(look(change), ({ message }) => Effect.logWarning("Can't tell which versions are gone", message))
    ),
    Effect.forkScoped
  )
}))
