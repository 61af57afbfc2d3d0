import { describe, it } from "@effect/vitest"
import { Effect, References } from "effect"
import * as MemoryStore from "./MemoryStore.ts"
import * as SagaLaws from "./SagaLaws.ts"
import type { Simulate } from "./SagaLaws.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const inMemory = (laws: (simulate: Simulate) => Effect.Effect<void>) =>
  Effect.flatMap(MemoryStore.make, (store) => laws(SagaLaws.simulateOn(store))).pipe(Effect.scoped, quiet)

describe("sagas of any shape, in memory", () => {
  it.effect(
    "laws 47 to 50: a process dies at each write, and another goes on",
    () => inMemory((simulate) => SagaLaws.eachWrite(simulate, SagaLaws.seeds(1, 20)))
  )

  it.effect(
    "laws 47 to 50: a process dies at each write after some branches were told to stop",
    () => inMemory((simulate) => SagaLaws.eachWriteAfterStop(simulate, [1, 2, Infinity]))
  )

  it.effect(
    "laws 47 to 50: those who go on die as well",
    () => inMemory((simulate) => SagaLaws.again(simulate, SagaLaws.seeds(1_000, 200)))
  )

  it.effect(
    "laws 47 to 50: cancelled in the middle",
    () => inMemory((simulate) => SagaLaws.cancelled(simulate, SagaLaws.seeds(2_000, 200)))
  )

  it.effect(
    "law 51: restarted anywhere, a saga has the same history",
    () => inMemory((simulate) => SagaLaws.sameHistory(simulate, simulate, SagaLaws.seeds(3_000, 60)))
  )
})
