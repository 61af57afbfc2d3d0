import { Context, Effect, Layer, Stream } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { ArtifactStore } from "./ArtifactStore.ts"
import { ModelRepository } from "./ModelRepository.ts"

/** Bytes that a crash left between the store and the database are older than this, in milliseconds, before they go. */
const orphanAgeMillis = 3_600_000

/** Removes artifacts that nothing refers to any more. */
export class ArtifactSweep extends Context.Service<ArtifactSweep, {
  /** Removes what no version refers to, and answers how many artifacts that were. */
  readonly sweep: Effect.Effect<number, DependencyUnavailable>
  /** Removes bytes that the database has never heard of: what a process left that ended between the two. */
  readonly sweepOrphans: Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/ArtifactSweep") {
  static readonly layer = Layer.effect(
    ArtifactSweep,
    Effect.gen(function*() {
      const repository = yield* ModelRepository
      const store = yield* ArtifactStore

      const sweepOrphans = store.olderThan(orphanAgeMillis).pipe(
        Stream.runForEach((sha256) =>
          Effect.flatMap(repository.knowsArtifact(sha256), (known) => known ? Effect.void : store.remove(sha256))
        ),
        Effect.withSpan("ArtifactSweep.sweepOrphans")
      )

      return ArtifactSweep.of({
        sweep: repository.sweepArtifacts(0, store.remove).pipe(Effect.withSpan("ArtifactSweep.sweep")),
        sweepOrphans
      })
    })
  )
}
