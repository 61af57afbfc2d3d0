/** Retry, circuit, bulkhead and timeout around one call that succeeds: what every call pays for all of them. */
import * as Cockatiel from "cockatiel"
import { Duration, Effect, Schedule, Semaphore } from "effect"
import * as EffectCircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Bulkhead from "../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../src/resilience/CircuitBreaker.ts"
import * as Policy from "../../src/resilience/Policy.ts"
import * as Layers from "../../src/resilience/policy/Layers.ts"
import * as Retry from "../../src/resilience/Retry.ts"
import { ofEffect, ofPromise } from "./Contestants.ts"
import { compare } from "./Rounds.ts"
import type { Row } from "./Table.ts"

const attempts = 3
const failures = 5
const openFor = Duration.seconds(30)
const timeout = Duration.seconds(2)
const places = 32
const queue = 100
const firstDelay = Duration.millis(100)
const longestDelay = Duration.seconds(10)

/** The call, in each library's own kind: one that answers at once, and one that answers in a later turn. */
const calls = {
  "that answers at once": {
    wanted: 2,
    effect: Effect.succeed(42),
    promise: () => Promise.resolve(42)
  },
  "that answers in a later turn": {
    // Here the timers of all of them start, and Node's own cost most of it
    wanted: 1,
    effect: Effect.callback<number>((resume) => {
      setImmediate(() => resume(Effect.succeed(42)))
    }),
    promise: () =>
      new Promise<number>((resolve) => {
        setImmediate(() => resolve(42))
      })
  }
}

const ours = Effect.gen(function*() {
  const retry = yield* Retry.make<unknown>({
    name: "bench",
    retryable: () => true,
    call: Retry.safe,
    maxAttempts: attempts
  })
  const circuit = yield* CircuitBreaker.make({
    name: "bench",
    trip: { _tag: "ConsecutiveFailures", failures },
    openFor
  })
  const bulkhead = yield* Bulkhead.make({ name: "bench", limit: places, queue })
  return Policy.apply(
    Layers.retry(retry).pipe(
      Policy.around(Layers.circuit(circuit)),
      Policy.around(Layers.bulkhead(bulkhead)),
      Policy.around(Layers.timeout(timeout))
    )
  )
})

const effects = Effect.gen(function*() {
  const circuit = yield* EffectCircuitBreaker.make({
    tripPolicy: EffectCircuitBreaker.consecutive(failures),
    openDuration: openFor
  })
  const semaphore = yield* Semaphore.make(places)
  const schedule = Schedule.exponential(firstDelay).pipe(Schedule.jittered)
  return (call: Effect.Effect<number>) =>
    call.pipe(
      Effect.timeout(timeout),
      semaphore.withPermits(1),
      circuit.execute({ key: "bench" }),
      Effect.retry({ schedule, times: attempts - 1 })
    )
})

const cockatiel = () =>
  Cockatiel.wrap(
    Cockatiel.retry(Cockatiel.handleAll, {
      maxAttempts: attempts - 1,
      backoff: new Cockatiel.ExponentialBackoff({
        initialDelay: Duration.toMillis(firstDelay),
        maxDelay: Duration.toMillis(longestDelay)
      })
    }),
    Cockatiel.circuitBreaker(Cockatiel.handleAll, {
      halfOpenAfter: Duration.toMillis(openFor),
      breaker: new Cockatiel.ConsecutiveBreaker(failures)
    }),
    Cockatiel.bulkhead(places, queue),
    Cockatiel.timeout(Duration.toMillis(timeout), Cockatiel.TimeoutStrategy.Aggressive)
  )

export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function*() {
  const [protect, protectByEffects, wrapped] = [yield* ours, yield* effects, cockatiel()]
  const compared = yield* Effect.forEach(Object.entries(calls), ([what, { effect, promise, wanted }]) =>
    compare({
      figure: `retry, circuit, bulkhead, timeout around a call ${what}`,
      operations: 10_000,
      ours: ofEffect("ours", () => protect(effect)),
      peers: [
        ofPromise("cockatiel wrap", () => wrapped.execute(promise)),
        ofEffect("Effect's own", () => protectByEffects(effect))
      ],
      wanted
    }))
  return compared.flat()
}).pipe(
  Effect.orDie,
  Effect.provide(EffectCircuitBreaker.layerStoreMemory()),
  Effect.scoped
)
