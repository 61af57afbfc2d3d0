/** Circuits kept in this process's memory: what breakers share that are made in different places of one program. */
import { Clock, Effect, Layer } from "effect"
import { CircuitTable } from "./circuit/CircuitTable.ts"
import { CircuitStore } from "./CircuitStore.ts"

export interface MemoryOptions {
  /** Circuits kept at once, of all breakers; those used least lately leave first. 100,000 when not given. */
  readonly maxCircuits?: number | undefined
}

const make = Effect.fnUntraced(function*({ maxCircuits = 100_000 }: MemoryOptions = {}) {
  const clock = yield* Clock.Clock
  const table = new CircuitTable(maxCircuits)
  return CircuitStore.of({
    step: (step) => Effect.sync(() => table.step(step, Math.floor(clock.currentTimeMillisUnsafe()))),
    keys: (breaker) => Effect.sync(() => table.keys(breaker))
  })
})

/** It runs on the clock it is made with. */
export const layer = (options?: MemoryOptions): Layer.Layer<CircuitStore> => Layer.effect(CircuitStore, make(options))
