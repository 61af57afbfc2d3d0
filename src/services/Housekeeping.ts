import { Effect, Layer, Schedule } from "effect"
import { ArtifactSweep } from "./ArtifactSweep.ts"
import { Idempotency } from "./Idempotency.ts"

const every = "1 hour"

/** Removes, at the start and from time to time, what events don't ask to be removed. */
export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const { sweep, sweepOrphans } = yield* ArtifactSweep
  const idempotency = yield* Idempotency
  yield* Effect.all([sweep, sweepOrphans, idempotency.expire], { discard: true }).pipe(
    Effect.catch((error) => Effect.logWarning("Cleaning up will be tried again later", error.message)),
    Effect.repeat(Schedule.spaced(every)),
    Effect.forkScoped
  )
}))
