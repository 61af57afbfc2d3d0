/** A closed circuit around a call that succeeds: what every call pays for its breaker. */
import * as Cockatiel from "cockatiel"
import { Duration, Effect } from "effect"
import * as EffectCircuitBreaker from "effect/persistence/CircuitBreaker"
import Opossum from "opossum"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.ts"
import { ofEffect, ofPromise } from "./Contestants.ts"
import { compare } from "./Rounds.ts"
import type { Row } from "./Table.ts"

const failures = 5
const openFor = Duration.seconds(30)

/** The same call in each library's own kind, without any wait. */
const answer = () => Promise.resolve(42)
const answerEffect = Effect.succeed(42)

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const ours = yield* CircuitBreaker.make({
    name: "bench",
    trip: { _tag: "ConsecutiveFailures", failures },
    openFor
  })
  const theirs = yield* EffectCircuitBreaker.make({
    tripPolicy: EffectCircuitBreaker.consecutive(failures),
    openDuration: openFor
  })
  const cockatiel = Cockatiel.circuitBreaker(Cockatiel.handleAll, {
    halfOpenAfter: Duration.toMillis(openFor),
    breaker: new Cockatiel.ConsecutiveBreaker(failures)
  })
  // Its own timeout is off: the others have none either.
  const opossum = yield* Effect.acquireRelease(
    Effect.sync(() => new Opossum(answer, { timeout: false, resetTimeout: Duration.toMillis(openFor) })),
    (breaker) => Effect.sync(() => breaker.shutdown())
  )
  const guarded = CircuitBreaker.protect(answerEffect, ours)
  const executed = theirs.execute(answerEffect, { key: "bench" })
  return yield* compare({
    figure: "a closed circuit around a success, a call",
    operations: 50_000,
    ours: ofEffect("ours", () => guarded),
    peers: [
      ofPromise("cockatiel execute", () => cockatiel.execute(answer)),
      ofPromise("opossum fire", () => opossum.fire()),
      ofEffect("Effect's CircuitBreaker", () => executed)
    ],
    wanted: { "opossum fire": 1, "Effect's CircuitBreaker": 8 }
  })
}).pipe(
  Effect.orDie,
  Effect.provide(EffectCircuitBreaker.layerStoreMemory()),
  Effect.scoped
)
