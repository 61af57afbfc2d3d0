import { Array, Context, Effect, Layer, Stream } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { Sha256 } from "../domain/model/Artifact.ts"
import { ArtifactStore } from "./ArtifactStore.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { ModelStorage } from "./ModelStorage.ts"

/** What a crash left between the store and the database is older than this, in milliseconds, before it goes. */
const orphanAgeMillis = 3_600_000

/** Artifacts in one transaction: while it lasts nobody can claim them. */
const batch = 100

/** Removes artifacts that nothing refers to any more. */
export class ArtifactSweep extends Context.Service<ArtifactSweep, {
  /** Removes what no version refers to, and answers how many artifacts that were. */
  readonly sweep: Effect.Effect<number, DependencyUnavailable>
  /** As `sweep`, of these artifacts alone: afterwards none of them is left that no version refers to. */
  readonly sweepOf: (artifacts: ReadonlyArray<Sha256>) => Effect.Effect<void, DependencyUnavailable>
  /** Removes bytes and models' places that the database does not know: what a process left that ended between the two. */
  readonly sweepOrphans: Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/ArtifactSweep") {
  static readonly layer = Layer.effect(
    ArtifactSweep,
    Effect.gen(function*() {
      const repository = yield* ModelRepository
      const store = yield* ArtifactStore
      const storage = yield* ModelStorage

      const orphanedArtifacts = Stream.runForEach(
        store.olderThan(orphanAgeMillis),
        (sha256) =>
          Effect.flatMap(repository.knowsArtifact(sha256), (known) => known ? Effect.void : store.remove(sha256))
      )
      const orphanedPlaces = Stream.runForEach(
        storage.olderThan(orphanAgeMillis),
        (id) => Effect.flatMap(repository.knows(id), (known) => known ? Effect.void : storage.release(id))
      )

      return ArtifactSweep.of({
        sweep: repository.sweepArtifacts({ graceMillis: 0 }, store.remove).pipe(Effect.withSpan("ArtifactSweep.sweep")),
        sweepOf: Effect.fn("ArtifactSweep.sweepOf")((artifacts) =>
          Effect.forEach(
            Array.chunksOf(artifacts, batch),
            (only) => repository.sweepArtifacts({ graceMillis: 0, only }, store.remove),
            { discard: true }
          )
        ),
        sweepOrphans: Effect.andThen(orphanedArtifacts, orphanedPlaces).pipe(
          Effect.withSpan("ArtifactSweep.sweepOrphans")
        )
      })
    })
  )
}
