import { Effect, Layer } from "effect"
import { Readiness } from "../../services/Readiness.ts"
import { Redis } from "./Redis.ts"

/**
 * Names Redis among what the program stands on. The program is ready without it, for then each process has limits and
 * circuits of its own; but who looks should see it.
 */
export const layer = Layer.effect(
  Readiness,
  Effect.gen(function*() {
    const readiness = yield* Readiness
    const redis = yield* Redis
    return Readiness.of({
      check: Effect.zipWith(readiness.check, redis.isConnected, ({ checks, ready }, isConnected) => ({
        ready,
        checks: { ...checks, redis: isConnected ? "ok" : "away: each process counts by itself" }
      }))
    })
  })
)
