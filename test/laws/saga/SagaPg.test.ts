import { layer } from "@effect/vitest"
import { Effect, Layer, References } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { Journal } from "../../../src/saga/Journal.ts"
import * as PgSagas from "../../contract/saga/PgSagas.ts"
import * as MemoryStore from "./MemoryStore.ts"
import * as SagaLaws from "./SagaLaws.ts"
import type { Store } from "./Simulation.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "None")

/** Virtual time passes while nobody waits for the server: how busy the machine is makes no difference. */
const store = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const turn = TestClock.withLive(Effect.sleep("1 millis"))
  const store: Store = {
    journal: yield* Journal,
    pass: Effect.fnUntraced(function*(isBusy) {
      for (let quiet = 0; quiet < 3; quiet++) {
        yield* turn
        if (isBusy()) return
      }
      yield* TestClock.adjust("20 millis")
    }),
    expire: Effect.orDie(Effect.asVoid(sql`UPDATE saga_owners SET expires_at = clock_timestamp()`))
  }
  return store
})

const simulate = Effect.map(store, SagaLaws.simulateOn)

layer(PgSagas.layer({ lease: "1 minute" }).pipe(Layer.provideMerge(quiet)), {
  timeout: "2 minutes"
})("sagas of any shape, on PostgreSQL", (it) => {
  it.effect(
    "laws 47 to 50: a process dies at each write, and another goes on",
    () => Effect.flatMap(simulate, (simulate) => SagaLaws.eachWrite(simulate, SagaLaws.seeds(2, 1)))
  )

  it.effect(
    "laws 47 to 50: a process dies at each write after some branches were told to stop",
    () => Effect.flatMap(simulate, (simulate) => SagaLaws.eachWriteAfterStop(simulate, [2]))
  )

  it.effect(
    "laws 47 to 50: those who go on die as well",
    () => Effect.flatMap(simulate, (simulate) => SagaLaws.again(simulate, SagaLaws.seeds(1_000, 12)))
  )

  it.effect(
    "laws 47 to 50: cancelled in the middle",
    () => Effect.flatMap(simulate, (simulate) => SagaLaws.cancelled(simulate, SagaLaws.seeds(2_000, 12)))
  )

  it.effect("law 51: restarted anywhere, a saga has the history that it has in memory", () =>
    Effect.gen(function*() {
      const memory = SagaLaws.simulateOn(yield* MemoryStore.make)
      yield* SagaLaws.sameHistory(memory, yield* simulate, SagaLaws.seeds(3_000, 8))
    }))
})
