/** A program that makes calls which hang through a circuit in Redis, and writes how many of them began. */
import { Console, Effect, Layer, Redacted, Schedule } from "effect"
import * as CircuitStoreRedis from "../../src/layers/redis/CircuitStoreRedis.ts"
import * as Redis from "../../src/layers/redis/Redis.ts"
import { protect } from "../../src/resilience/CircuitBreaker.ts"
import * as SharedCircuitBreaker from "../../src/resilience/SharedCircuitBreaker.ts"
import { sharedOptions } from "./sharedCircuit.ts"

const [, , url = "", calls = ""] = process.argv

// A machine that is busy with other tests is no reason to go on without Redis.
const redis = Redis.layer({ url: Redacted.make(url), commandTimeout: "10 seconds", hungAfter: "20 seconds" })

Effect.gen(function*() {
  const { isConnected } = yield* Redis.Redis
  yield* Effect.repeat(isConnected, { until: (is) => is, schedule: Schedule.spaced("10 millis") })
  const breaker = yield* SharedCircuitBreaker.make(sharedOptions)
  let [begun, refused] = [0, 0]
  const call = Effect.exit(protect(Effect.andThen(Effect.sync(() => begun++), Effect.never), breaker))
  yield* Effect.forEach(
    Array.from({ length: Number(calls) }),
    () => Effect.forkScoped(Effect.andThen(call, Effect.sync(() => refused++)))
  )
  yield* Effect.sync(() => begun + refused).pipe(
    Effect.repeat({ until: (ended) => ended === Number(calls), schedule: Schedule.spaced("10 millis") })
  )
  yield* Console.log(JSON.stringify({ begun, refused }))
  // Killed with its probes running, as a replica may be: nothing gives their places back but the lease.
  process.kill(process.pid, "SIGKILL")
}).pipe(
  Effect.scoped,
  Effect.provide(CircuitStoreRedis.layer().pipe(Layer.provideMerge(redis))),
  Effect.runFork
)
