import { Effect } from "effect"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"

/** Full disks and lost mounts are mended by people or by other programs: soon at best, not in the next second. */
const retryAfterSeconds = 10

/** Tells the operator what failed and why, and the caller that storage is away for now. */
export const storageUnavailable =
  (operation: string) => (cause: unknown): Effect.Effect<never, DependencyUnavailable> =>
    Effect.logError(`Artifact storage can't ${operation}`, cause).pipe(
      Effect.andThen(Effect.fail(new DependencyUnavailable({ dependency: "storage", retryAfterSeconds })))
    )
